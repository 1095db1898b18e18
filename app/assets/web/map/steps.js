// @ts-check
// From a number of prototypes to the next: where each came from, and where it is on its way. No DOM.

/** @typedef {import('./geometry.js').Point} Point */

/**
 * For each prototype of a layer, the one of the layer before that it came from; −1 for none.
 *
 * @typedef {ArrayLike<number>} Parents
 */

/**
 * Where prototypes start from at a step: at their parents.
 *
 * @param {Point[]} before places of the layer before
 * @param {Point[]} after
 * @param {Parents} parents
 * @returns {Point[]}
 */
export const starts = (before, after, parents) => after.map((place, p) => before[parents[p]] ?? place);

/**
 * Where prototypes start from at a step back: at the first of those that came from them.
 *
 * @param {Point[]} before places of the layer before, which has more prototypes
 * @param {Point[]} after
 * @param {Parents} parents of the layer before
 * @returns {Point[]}
 */
export function startsBack(before, after, parents) {
  const from = [...after];
  for (let p = before.length - 1; p >= 0; p -= 1) if (after[parents[p]]) from[parents[p]] = before[p];
  return from;
}

/**
 * Those that share their parent with another: what a step has split.
 *
 * @param {Parents} parents
 * @returns {[child: number, parent: number][]}
 */
export function splits(parents) {
  /** @type {Map<number, number[]>} */
  const children = new Map();
  for (let p = 0; p < parents.length; p += 1) {
    if (parents[p] >= 0) children.set(parents[p], [...(children.get(parents[p]) ?? []), p]);
  }
  return [...children].flatMap(([parent, all]) =>
    all.length > 1 ? all.map((p) => /** @type {[number, number]} */ ([p, parent])) : [],
  );
}

/**
 * @param {Point[]} from
 * @param {Point[]} to
 * @param {number} part of the way, 0…1
 * @returns {Point[]}
 */
export function between(from, to, part) {
  const eased = 1 - (1 - part) ** 3; // fast at first
  return to.map(([x, y], p) => [from[p][0] + eased * (x - from[p][0]), from[p][1] + eased * (y - from[p][1])]);
}
