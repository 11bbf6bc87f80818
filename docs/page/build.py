"""The studio as one file for any browser: `python docs/page/build.py site/studio`.

The page's script, its worker, the kernels, the pocket network and the sample pictures all lie in
`index.html`, which needs nothing else, neither a server nor a network. The compiler of the kernels
and the bundler come from npm, in the versions and with the checksums of package-lock.json.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors import safe_open
from safetensors.torch import save

import styletutor as st
from styletutor.network.vgg import VGG
from styletutor.pictures.images import to_uint8
from styletutor.pictures.samples import describe_sample
from styletutor.version import __version__

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
POCKET = ROOT / "styletutor/network/pocket.safetensors"
TOOLS = ROOT / "build" / "page"  # npm's packages
LAST = "conv5_1"  # what a style needs; the page goes no deeper
LARGEST = 384  # pixels: the page's largest size, and so its samples'
SHARED = "--enable threads --sharedMemory --initialMemory 16 --maximumMemory 16384"
KERNELS = {
    f"{name}{suffix}": f"{options} {more}".split()
    for name, options in (("fused", "--enable relaxed-simd"), ("plain", ""))
    for suffix, more in (("-shared", SHARED), ("", ""))
}


def main(output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    page = output / "index.html"
    page.write_text(compose(), encoding="utf-8")
    shutil.copyfile(HERE / "offline.js", output / "offline.js")
    print(f"{page}: {page.stat().st_size / 1e6:.1f} MB")


def compose() -> str:
    """The whole page."""
    install()
    kernels = {name: compile_kernels(name) for name in KERNELS}
    data = {
        **{f"kernels-{name}": encode(code) for name, code in kernels.items()},
        "weights": encode(weights()),
        "worker": bundle("worker.js"),
        "about": json.dumps(about(), ensure_ascii=False),
    }
    blocks = "\n".join(
        f'<script type="text/plain" id="{name}">{inert(text)}</script>'
        for name, text in data.items()
    )
    style = (ROOT / "styletutor/widgets/static/style.css").read_text("utf-8")
    parts = {
        "style": style + (HERE / "page.css").read_text("utf-8"),
        "data": blocks,
        "page": inert(bundle("page.js")),
    }
    page = (HERE / "page.html").read_text("utf-8")
    for name, text in parts.items():
        page = page.replace(f"{{{name}}}", text, 1)
    return page


def install() -> None:
    """npm's packages, where they are not there yet or the list of them has changed."""
    found = shutil.which("node") and shutil.which("npm")
    if not found or int(run("node", "-p", "parseInt(process.versions.node)", cwd=HERE)) < 20:
        raise SystemExit("the page is built with node 20 or newer and npm; install them first")
    lock, mark = HERE / "package-lock.json", TOOLS / "installed"
    if mark.exists() and mark.read_bytes() == lock.read_bytes():
        return
    TOOLS.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(HERE / name, TOOLS / name)
    options = ["--ignore-scripts", "--no-audit", "--no-fund"]
    run(shutil.which("npm"), "ci", *options, cwd=TOOLS)
    shutil.copyfile(lock, mark)


def compile_kernels(name: str) -> bytes:
    """kernels.ts as WebAssembly, in one of the four ways of KERNELS; made anew when it changes."""
    output, sources = TOOLS / f"{name}.wasm", [*HERE.glob("*.ts"), HERE / "build.py"]
    if output.exists() and all(output.stat().st_mtime > p.stat().st_mtime for p in sources):
        return output.read_bytes()
    options = ["--runtime", "stub", "--noAssert", "-O3", "--importMemory"]
    options += ["--enable", "simd", "--enable", "bulk-memory", *KERNELS[name]]
    compiler = TOOLS / "node_modules/assemblyscript/bin/asc.js"
    run("node", compiler, HERE / "kernels.ts", "-o", output, *options, cwd=ROOT)
    return output.read_bytes()


def bundle(name: str) -> str:
    """A module with all that it imports, as one script."""
    bundler = TOOLS / "node_modules/esbuild/bin/esbuild"
    options = ["--bundle", "--format=iife", "--charset=utf8", "--target=es2022"]
    options += ["--minify-syntax", "--loader:.wgsl=text"]
    return run("node", bundler, HERE / name, *options, cwd=ROOT)


def run(*words: object, cwd: Path) -> str:
    done = subprocess.run([*map(str, words)], cwd=cwd, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise SystemExit(f"{Path(words[1]).name} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def weights() -> bytes:
    """The pocket network's file as far as the page goes, to the bit."""
    with safe_open(POCKET, "pt") as file:
        wanted = [key for key in file.keys() if key[: len(LAST)] <= LAST]  # noqa: SIM118
        return save({key: file.get_tensor(key) for key in wanted}, file.metadata())


def about() -> dict[str, Any]:
    """What the page knows of its network, and the samples."""
    vgg, names = st.load_vgg("pocket"), st.sample_names()
    return {
        "version": __version__,
        "network": vgg.name,
        "trainedOn": vgg.trained_on,
        "sha256": hashlib.sha256(POCKET.read_bytes()).hexdigest(),
        "kernels": list(KERNELS),
        "layers": layers(vgg),
        "photographs": names.photographs,
        "artworks": names.artworks,
        "samples": {name: {"alt": describe_sample(name), "image": sample(name)} for name in names},
    }


def layers(vgg: VGG) -> list[dict[str, Any]]:
    """The rows of the table that a picture can be rebuilt from."""
    end = vgg.layer_names.index(LAST.replace("conv", "relu")) + 1
    return [asdict(layer) for layer in vgg.layers[:end] if layer.kind == "relu"]


def sample(name: str) -> str:
    data = io.BytesIO()
    picture = Image.fromarray(to_uint8(st.load_image(name, LARGEST)))
    picture.save(data, "WEBP", quality=80, method=6)
    return encode(data.getvalue())


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def inert(text: str) -> str:
    """A script that does not end before its end."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
