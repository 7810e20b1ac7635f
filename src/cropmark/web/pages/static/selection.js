// A box on an image, drawn by pointer or moved by the arrow keys (with Shift: resized). Reports pixels of the image.

const STEP = 0.02; // of the image's width, for one press of an arrow key

export function makeSelection(frame, image, box, report) {
  let start = null;
  let shares = null; // left, top, right, bottom, each 0 to 1

  frame.tabIndex = 0;
  frame.setAttribute("role", "application");
  frame.setAttribute("aria-label", "Selection on the original. Arrow keys move it, with Shift they resize it, Enter applies it, Escape removes it.");

  function at(event) {
    const rect = image.getBoundingClientRect();
    const inside = (n) => Math.min(1, Math.max(0, n));
    return { x: inside((event.clientX - rect.left) / rect.width), y: inside((event.clientY - rect.top) / rect.height) };
  }

  function draw() {
    box.hidden = shares === null;
    if (shares === null) return;
    const [left, top, right, bottom] = shares;
    box.style.setProperty("left", `${image.offsetLeft + left * image.offsetWidth}px`);
    box.style.setProperty("top", `${image.offsetTop + top * image.offsetHeight}px`);
    box.style.setProperty("width", `${(right - left) * image.offsetWidth}px`);
    box.style.setProperty("height", `${(bottom - top) * image.offsetHeight}px`);
  }

  async function apply() {
    await image.decode(); // its size is known only then
    if (shares === null) return;
    const { naturalWidth: width, naturalHeight: height } = image;
    const [left, top, right, bottom] = [shares[0] * width, shares[1] * height, shares[2] * width, shares[3] * height].map(Math.round);
    report({ left, top, width: Math.max(1, right - left), height: Math.max(1, bottom - top) }, { width, height });
  }

  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    frame.focus();
    frame.setPointerCapture(event.pointerId);
    start = at(event);
    shares = [start.x, start.y, start.x, start.y];
    draw();
  });
  frame.addEventListener("pointermove", (event) => {
    if (start === null) return;
    const end = at(event);
    shares = [Math.min(start.x, end.x), Math.min(start.y, end.y), Math.max(start.x, end.x), Math.max(start.y, end.y)];
    draw();
  });
  frame.addEventListener("pointerup", () => {
    if (start === null) return;
    start = null;
    apply();
  });

  frame.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    if (event.key === "Escape") shares = null;
    else if (event.key === "Enter" && shares) apply();
    else if (steps) {
      shares ??= [0.25, 0.25, 0.75, 0.75];
      const [x, y] = steps;
      const [left, top, right, bottom] = shares;
      if (event.shiftKey) shares = [left, top, Math.min(1, Math.max(left + STEP, right + x)), Math.min(1, Math.max(top + STEP, bottom + y))];
      else {
        const dx = Math.min(1 - right, Math.max(-left, x));
        const dy = Math.min(1 - bottom, Math.max(-top, y));
        shares = [left + dx, top + dy, right + dx, bottom + dy];
      }
    } else return;
    event.preventDefault();
    draw();
  });
  addEventListener("resize", draw);

  return { clear() { shares = null; draw(); } };
}
