// @ts-check
// Where the k timeline draws its numbers, and how it says them. No DOM.

/** @typedef {import('./state.js').Timeline} Timeline */
/** @typedef {import('./state.js').Curve} Curve */

// the drawing is stretched to the room that there is
export const WIDTH = 1000;
export const HEIGHT = 100;
const PAGE = 5;

/**
 * Where a number is, 0…1 from left to right; null for one that is not on the timeline.
 *
 * @param {number[]} ks
 * @param {number | null} k
 */
export function placeOf(ks, k) {
  const index = k === null ? -1 : ks.indexOf(k);
  return index < 0 ? null : ks.length > 1 ? index / (ks.length - 1) : 0;
}

/**
 * The number nearest to a place, 0…1.
 *
 * @param {number[]} ks
 * @param {number} place
 */
export const nearestK = (ks, place) => ks[Math.round(Math.min(1, Math.max(0, place)) * (ks.length - 1))];

/**
 * The number that a key leads to, null for another key.
 *
 * @param {number[]} ks
 * @param {number | null} k
 * @param {string} key
 */
export function keyedK(ks, k, key) {
  const index = k === null ? -1 : ks.indexOf(k);
  const last = ks.length - 1;
  /** @type {{ [key: string]: number }} */
  const targets = {
    ArrowRight: index + 1,
    ArrowUp: index + 1,
    ArrowLeft: index - 1,
    ArrowDown: index - 1,
    PageUp: index + PAGE,
    PageDown: index - PAGE,
    Home: 0,
    End: last,
  };
  return key in targets ? ks[Math.min(last, Math.max(0, targets[key]))] : null;
}

/**
 * @param {number} value
 * @param {[number, number]} range
 */
export const heightOf = (value, [low, high]) => HEIGHT * (1 - (value - low) / (high - low || 1));

/**
 * @param {number[]} values
 * @param {[number, number]} range
 * @returns {string[]} "x y" for each value
 */
const points = (values, range) =>
  values.map((value, i) => {
    const x = values.length > 1 ? (WIDTH * i) / (values.length - 1) : 0;
    return `${x.toFixed(1)} ${heightOf(value, range).toFixed(2)}`;
  });

/**
 * The path of a line through values.
 *
 * @param {number[]} values
 * @param {[number, number]} range
 */
export const linePath = (values, range) => `M${points(values, range).join('L')}`;

/**
 * The path around what lies between two lines.
 *
 * @param {number[]} low
 * @param {number[]} high
 * @param {[number, number]} range
 */
export const bandPath = (low, high, range) =>
  `M${[...points(high, range), ...points(low, range).reverse()].join('L')}Z`;

/** @param {Curve} curve */
export const arrow = (curve) => (curve.better === 'higher' ? '↑' : '↓');

/**
 * A value without its unit.
 *
 * @param {Curve} curve
 * @param {number} value
 */
export const plain = (curve, value) => (curve.name === 'coverage' ? value.toPrecision(3) : value.toFixed(1));

/**
 * An end of a curve's range with its unit.
 *
 * @param {Curve} curve
 * @param {number} value
 */
export const rangeEnd = (curve, value) => plain(curve, value) + curve.unit;

/**
 * The value with `ks[i]` prototypes per class, with its unit.
 *
 * @param {Curve} curve
 * @param {number[]} ks
 * @param {number} i
 */
export function valueWords(curve, ks, i) {
  const value = plain(curve, curve.values[i]);
  if (curve.name === 'effective') return `${value} of ${ks[i]}`;
  return value + curve.unit;
}

/**
 * What random images give with `ks[i]` prototypes per class; "" where that is not known.
 *
 * @param {Curve} curve
 * @param {number} i
 */
export function chanceWords(curve, i) {
  if (!curve.chance) return '';
  const [low, high] = curve.chance.map((ends) => plain(curve, ends[i]));
  return `random images ${low === high ? '' : `${low} to `}${high}${curve.unit}`;
}

/**
 * A number of prototypes per class in words.
 *
 * @param {number} k
 */
export const perClass = (k) => `${k} prototype${k === 1 ? '' : 's'} per class`;

/**
 * All values of a number in a sentence, for those who cannot see them.
 *
 * @param {Timeline} timeline
 * @param {number} k
 */
export function valueText(timeline, k) {
  const i = timeline.ks.indexOf(k);
  const values = timeline.curves.map((curve) => {
    const chance = chanceWords(curve, i);
    return `${curve.title.toLowerCase()} ${valueWords(curve, timeline.ks, i)}${chance && ` (${chance})`}`;
  });
  return `${perClass(k)}: ${values.join(', ')}${k === timeline.suggested ? '; suggested' : ''}`;
}
