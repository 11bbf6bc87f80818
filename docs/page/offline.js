// A service worker: the page again without a network, and isolated, so that it may have threads.
const HEADERS = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  if (event.request.mode === "navigate") event.respondWith(answer(event.request));
});

/** From the server, and from the last time if it does not answer. */
async function answer(request) {
  const cache = await caches.open("studio");
  const response = await fetch(request).catch(() => null);
  if (response?.ok) await cache.put(request, response.clone());
  const found = response ?? (await cache.match(request, { ignoreSearch: true }));
  if (!found || found.type === "opaqueredirect") return found ?? Response.error();
  const headers = new Headers(found.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
}
