// @ts-check
// Where the tour's card goes: beside what it is about, and never outside of the window. Needs no DOM.

/**
 * @typedef {{ left: number, top: number, width: number, height: number }} Box in pixels of the window
 * @typedef {{ width: number, height: number }} Size
 */

export const GAP = 12;

/**
 * The box of a card beside a target: right of it, left, below or above it, whichever first has room. Where none has, or
 * where there is no target, it is at the bottom right of the window, over the target if need be.
 *
 * @param {Box | null} target
 * @param {Size} card
 * @param {Size} view the window
 * @returns {{ left: number, top: number }}
 */
export function cardPlace(target, card, view) {
  const corner = { left: view.width - card.width - GAP, top: view.height - card.height - GAP };
  if (!target) return inside(corner, card, view);
  const right = target.left + target.width;
  const bottom = target.top + target.height;
  const places = [
    { left: right + GAP, top: target.top },
    { left: target.left - card.width - GAP, top: target.top },
    { left: target.left, top: bottom + GAP },
    { left: target.left, top: target.top - card.height - GAP },
  ];
  const free = places.find((place) => fits(place, card, view) && !covers(inside(place, card, view), card, target));
  return inside(free ?? corner, card, view);
}

/**
 * Whether a card at a place has room in the window in the direction it was put beside its target.
 *
 * @param {{ left: number, top: number }} place
 * @param {Size} card
 * @param {Size} view
 */
function fits(place, card, view) {
  return (
    place.left >= GAP &&
    place.left + card.width <= view.width - GAP &&
    place.top >= GAP - card.height &&
    place.top <= view.height
  );
}

/**
 * @param {{ left: number, top: number }} place
 * @param {Size} card
 * @param {Box} target
 */
function covers(place, card, target) {
  return (
    place.left < target.left + target.width &&
    place.left + card.width > target.left &&
    place.top < target.top + target.height &&
    place.top + card.height > target.top
  );
}

/**
 * The nearest place at which a card is inside of the window; its beginning where it is larger than that.
 *
 * @param {{ left: number, top: number }} place
 * @param {Size} card
 * @param {Size} view
 */
function inside(place, card, view) {
  return {
    left: Math.max(GAP, Math.min(place.left, view.width - card.width - GAP)),
    top: Math.max(GAP, Math.min(place.top, view.height - card.height - GAP)),
  };
}

/**
 * The box of the ring around a target: a little larger, and no larger than the window.
 *
 * @param {Box} target
 * @param {Size} view
 * @returns {Box}
 */
export function ringBox(target, view) {
  const left = Math.max(2, target.left - 4);
  const top = Math.max(2, target.top - 4);
  return {
    left,
    top,
    width: Math.max(0, Math.min(view.width - 2, target.left + target.width + 4) - left),
    height: Math.max(0, Math.min(view.height - 2, target.top + target.height + 4) - top),
  };
}
