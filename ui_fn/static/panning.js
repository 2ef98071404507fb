// Turns drags, the wheel and keys into the span of time that a chart shows.

/**
 * Let the span of a plot be moved; drawing keeps to one frame, whatever the pointer does.
 *
 * Returns {undo, keeping}: `keeping(change)` lets new data be put in, and then shows the span that was shown: all of
 * them where all of the old ones were.
 */
export function pannable(plot) {
  let wanted = null;
  let frame = 0;
  const ends = () => [plot.data[0][0] ?? 0, plot.data[0].at(-1) ?? 1];
  const set = (from, to) => {
    const [first, last] = ends();
    const span = Math.min(Math.max(to - from, 1), Math.max(last - first, 1));
    const start = Math.min(Math.max(from, first), last - span);
    wanted = { min: start, max: start + span };
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      plot.setScale("x", wanted);
    });
  };
  const shown = () => (frame ? wanted : plot.scales.x);
  const whole = () => set(...ends());
  const undo = listen(plot, { set, shown, whole });
  return {
    undo: () => {
      cancelAnimationFrame(frame);
      undo();
    },
    keeping: (change) => {
      const { min, max } = shown();
      const [first, last] = ends();
      change();
      if (min > first || max < last) set(min, max);
      else whole();
    },
  };
}

function listen(plot, { set, shown, whole }) {
  const over = plot.over;
  const zoom = (factor, at = 0.5) => {
    const { min, max } = shown();
    const centre = min + (max - min) * at;
    set(centre - (centre - min) * factor, centre + (max - centre) * factor);
  };
  let held = null;
  const down = (event) => {
    if (event.button) return;
    held = { x: event.clientX, ...shown() };
    over.setPointerCapture(event.pointerId);
  };
  const move = (event) => {
    if (!held) return;
    const by = ((held.x - event.clientX) / over.clientWidth) * (held.max - held.min);
    set(held.min + by, held.max + by);
  };
  const up = () => (held = null);
  const wheel = (event) => {
    // Alone it scrolls the page, as everywhere.
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, event.offsetX / over.clientWidth);
  };
  const key = (event) => {
    const { min, max } = shown();
    const step = (max - min) / 10;
    const acts = {
      ArrowLeft: () => set(min - step, max - step),
      ArrowRight: () => set(min + step, max + step),
      "+": () => zoom(0.8),
      "-": () => zoom(1.25),
      0: whole,
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  };
  const listened = [
    [over, "pointerdown", down], [over, "pointermove", move], [over, "pointerup", up], [over, "pointercancel", up],
    [over, "wheel", wheel, { passive: false }], [over, "dblclick", whole], [plot.root.parentElement, "keydown", key],
  ];
  for (const [target, name, act, options] of listened) target.addEventListener(name, act, options);
  return () => {
    for (const [target, name, act] of listened) target.removeEventListener(name, act);
  };
}
