// The heights that slides.py reckons with are estimates: what is too high all the same is shrunk.
Reveal.initialize({
  width: 1280, height: 720, margin: 0, center: false, hash: true,
  slideNumber: "c/t", transition: "none", plugins: [RevealNotes],
});

function fit() {
  const slide = Reveal.getCurrentSlide();
  slide.style.zoom = 1;
  slide.style.zoom = Math.min(1, 720 / slide.scrollHeight);
}

Reveal.on("ready", fit);
Reveal.on("slidechanged", fit);
document.addEventListener("toggle", fit, true);
