// What build.py has put into the page.

export const embedded = (id) => document.getElementById(id).textContent;

/** @param {string} text in base64 */
export function bytes(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** Versions, layers, and samples. */
export const about = JSON.parse(embedded("about"));
