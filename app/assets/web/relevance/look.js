// @ts-check
// How maps look, opacity and colours: one look for all maps, for as long as the tab is open. Links name it.

/** @typedef {Record<string, import('./overlay.js').Scale>} Scales by name, the usual one first */

const KEY = 'kmex-look';
const USUAL_OPACITY = 85;

/** opacity in percent; colours: the name of a scale, "" until one is chosen */
export const look = { opacity: USUAL_OPACITY, colours: '' };

/** @type {Set<() => void>} */
export const listeners = new Set(); // what draws anew when the look changes

let waiting = 0; // for the next frame
/** @type {Scales | null} */
let choices = null; // of the controls on this page

/** A link says how maps look; without it, it is as it was before the page was loaded again. */
function recall() {
  /** @type {{ opacity?: unknown, colours?: unknown }} */
  let stored = {};
  try {
    stored = JSON.parse(sessionStorage.getItem(KEY) ?? '{}') ?? {};
  } catch {
    // no storage, or not ours: the look is what it is at first
  }
  const link = new URLSearchParams(location.search);
  const opacity = String(link.get('opacity') ?? stored.opacity);
  if (/^\d{1,3}$/.test(opacity) && Number(opacity) <= 100) look.opacity = Number(opacity);
  look.colours = String(link.get('colours') ?? stored.colours ?? '');
}
recall();

function store() {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(look));
  } catch {
    // no storage: the look is kept until the page is loaded again
  }
}

// Streamlit writes an address of its own after a run, without what it did not put there: say it again
for (const name of /** @type {const} */ (['pushState', 'replaceState'])) {
  const write = history[name].bind(history);
  history[name] = (...values) => {
    write(...values);
    tell();
  };
}

/** Says in the address what is shown, while there are controls. */
function tell() {
  if (!choices) return;
  const address = new URL(location.href);
  for (const [name, value, usual] of [
    ['opacity', String(look.opacity), String(USUAL_OPACITY)],
    ['colours', look.colours, Object.keys(choices)[0]],
  ]) {
    if (value === usual) address.searchParams.delete(name);
    else address.searchParams.set(name, value);
  }
  if (address.href !== location.href) history.replaceState(history.state, '', address);
}

/**
 * Names the scales of the controls on this page, null when they have left it.
 *
 * @param {Scales | null} scales
 */
export function offer(scales) {
  choices = scales;
  if (scales && !Object.hasOwn(scales, look.colours)) look.colours = Object.keys(scales)[0];
  tell();
}

/** @param {Partial<typeof look>} values */
export function change(values) {
  Object.assign(look, values);
  store();
  tell();
  waiting ||= requestAnimationFrame(() => {
    waiting = 0;
    for (const listener of listeners) listener();
  });
}

/**
 * The scale of the look.
 *
 * @param {Scales} scales
 */
export const scaleOf = (scales) =>
  // not `in` or `??`: a link may name what every object inherits, such as "constructor"
  Object.hasOwn(scales, look.colours) ? scales[look.colours] : Object.values(scales)[0];
