// @ts-check
// What a selection has more of than the other images, where that is beyond chance. No DOM.

import { agreeing, and, histogram, not, size as count } from '../map/mask.js';

/** @typedef {import('../map/mask.js').Mask} Mask */
/** @typedef {import('./selection.js').Subject} Subject */

/**
 * A share in the selection beside the same in all images. Where it is not known of all, those of which it is not
 * known do not count.
 *
 * @typedef {object} Fact
 * @property {string} text what the images have
 * @property {string} condition selects them
 * @property {number} images of the selection that have it
 * @property {number} of how many of the selection
 * @property {number} share of the selection, 0…1
 * @property {number} data the share of all images, 0…1
 * @property {number} lift the one by the other
 * @property {number} p of a two-sided two-proportion z-test of the selection against the images outside it
 */

/**
 * @typedef {object} Facts
 * @property {number} images
 * @property {number} compared how many shares were compared
 * @property {Fact[]} facts the surest first
 * @property {string} sentence the first few
 * @property {string} test how it was told from chance
 */

const LEVEL = 0.05;
const FEWEST = 5; // expected images in each cell, below which the test says nothing
const TOLD = 4; // facts in the sentence

/**
 * @param {Mask} mask the selection
 * @param {Subject & { classes: string[], conditions?: string[] }} subject with the classes' names, and the conditions
 *     that need not be told, as they made the selection
 * @returns {Facts}
 */
export function facts(mask, { conditions = [], ...subject }) {
  const parts = [mask, not(mask, subject.cloud.total)];
  const candidates = shares(subject, parts).filter(({ condition }) => !conditions.includes(condition));
  const compared = candidates.map(({ text, condition, counts: [inside, outside] }) => {
    const share = inside[1] ? inside[0] / inside[1] : 0;
    const data = (inside[0] + outside[0]) / Math.max(1, inside[1] + outside[1]);
    const p = difference(inside[0], inside[1], outside[0], outside[1]);
    return { text, condition, images: inside[0], of: inside[1], share, data, lift: data ? share / data : 0, p };
  });
  const found = compared
    .filter(({ p, share, data, condition }) => p < LEVEL / compared.length && (share > data || condition === 'wrong'))
    .sort((a, b) => a.p - b.p || b.lift - a.lift);
  const images = count(mask);
  const told = found.slice(0, TOLD).map((fact) => `${percent(fact.share)} ${fact.text} (data ${percent(fact.data)})`);
  const number = `${images.toLocaleString('en')} ${images === 1 ? 'image' : 'images'}`;
  return {
    images,
    compared: compared.length,
    facts: found,
    sentence: told.length ? `${number}: ${told.join(', ')}` : number,
    test:
      `Beyond chance only: two-proportion z-test against the images outside the selection, at 5% over all ` +
      `${compared.length} comparisons (Bonferroni).`,
  };
}

/**
 * @param {Subject & { classes: string[] }} subject
 * @param {Mask[]} parts the selection, and the other images
 * @returns {{ text: string, condition: string, counts: [having: number, known: number][] }[]} everything that is
 *     compared, counted in both parts
 */
function shares({ cloud, layer, attributes, attributeNames, classes }, parts) {
  const sizes = parts.map(count);
  const wrong = not(agreeing(layer.predicted, cloud.labels), cloud.total);
  const byClass = parts.map((part) => histogram(cloud.labels, cloud.total, part));
  /** @param {(part: number) => [number, number]} of */
  const counted = (of) => parts.map((_, part) => of(part));
  return [
    { text: 'wrong', condition: 'wrong', counts: counted((part) => [count(and(wrong, parts[part])), sizes[part]]) },
    ...classes.map((text, label) => ({
      text,
      condition: `class:${label}`,
      counts: counted((part) => [byClass[part][label], sizes[part]]),
    })),
    ...(attributes ? attributeNames : []).map((text, at) => ({
      text,
      condition: `attribute:${text}`,
      counts: counted((part) => {
        const known = and(attributes?.known[at] ?? parts[part], parts[part]);
        return [count(and(attributes?.has[at] ?? known, known)), count(known)];
      }),
    })),
  ];
}

/**
 * The probability, were two shares the same, that they differ at least as much: the two-sided two-proportion z-test with
 * pooled variance. 1 where there are too few images for it.
 *
 * @param {number} one
 * @param {number} ofOne
 * @param {number} other
 * @param {number} ofOther
 */
export function difference(one, ofOne, other, ofOther) {
  const pooled = (one + other) / Math.max(1, ofOne + ofOther);
  const fewest = Math.min(ofOne, ofOther) * Math.min(pooled, 1 - pooled);
  if (!ofOne || !ofOther || fewest < FEWEST) return 1;
  const z = (one / ofOne - other / ofOther) / Math.sqrt(pooled * (1 - pooled) * (1 / ofOne + 1 / ofOther));
  return erfc(Math.abs(z) / Math.SQRT2);
}

const ERFC = [
  -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
  0.17087277,
];

/**
 * The complementary error function, right to 1.2 parts in ten million everywhere (Numerical Recipes in C, 6.2).
 *
 * @param {number} x 0 or above
 */
export function erfc(x) {
  const t = 1 / (1 + 0.5 * x);
  const polynomial = ERFC.reduceRight((sum, coefficient) => sum * t + coefficient, 0);
  return t * Math.exp(polynomial - x * x);
}

/**
 * A share in percent: with a decimal where it is small.
 *
 * @param {number} share
 */
export function percent(share) {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return '< 0.1%';
  return `${value > 0 && value < 1 ? value.toFixed(1) : Math.round(value)}%`;
}

/**
 * A share in percent, with a decimal however large it is: for shares that are compared.
 *
 * @param {number} share
 */
export const percentInTenths = (share) => `${(100 * share).toFixed(1)}%`;
