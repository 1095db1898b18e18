// @ts-check
// What the panel says of prototypes, from the columns of a layer. No DOM.

import { count, numberIn } from '../map/data.js';
import { percent } from './facts.js';

/** @typedef {import('./columns.js').Layer} Layer */
/** @typedef {import('../map/data.js').Cloud} Cloud */
/** @typedef {import('./state.js').Model} Model */

/**
 * Prototypes of a class.
 *
 * @typedef {{ label: number, members: number[] }} ClassGroup members in the order of their place in the class
 */

/**
 * A count with its noun: "1 image", "1,818 images".
 *
 * @param {number} number
 * @param {string} noun
 */
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? '' : 's'}`;

/**
 * The prototypes by class.
 *
 * @param {Layer} layer
 * @param {(label: number) => boolean} isShown
 * @returns {ClassGroup[]}
 */
export function byClass(layer, isShown) {
  /** @type {Map<number, number[]>} */
  const members = new Map();
  layer.class.forEach((label, p) => {
    if (!isShown(label)) return;
    const group = members.get(label);
    if (group) group.push(p);
    else members.set(label, [p]);
  });
  return [...members].sort(([a], [b]) => a - b).map(([label, group]) => ({ label, members: group }));
}

/**
 * The number of a prototype in its class, from 1.
 *
 * @param {Layer} layer
 * @param {number} p
 */
export const numberOf = (layer, p) => Number(layer.place[p].split('.')[1]) + 1;

/**
 * @param {Layer} layer
 * @param {Model} model
 * @param {number} p
 */
export const titleOf = (layer, model, p) => `Prototype ${numberOf(layer, p)} of ${model.classes[layer.class[p]]}`;

/**
 * A prototype's importance, and what it gets wrong, in two sentences.
 *
 * @param {Layer} layer
 * @param {Model} model
 * @param {number} p
 * @param {number} size the training images of its class
 */
export function importanceOf(layer, model, p, size) {
  const name = model.classes[layer.class[p]];
  const of = `of the ${counted(size, 'training image')} of ${name}`;
  const own = layer.ghost[p]
    ? `A ghost: the nearest prototype of none ${of}.`
    : `The nearest prototype of ${count(layer.count[p])} ${of} (${percent(layer.share[p])}).`;
  const others = layer.others[p]
    ? `It also attracts ${counted(layer.others[p], 'training image')} of other classes.`
    : 'It attracts no training images of other classes.';
  return `${own} ${others}`;
}

/**
 * Which prototypes came by the last step, from k − 1 to k per class: of those that come from the same one, all but the
 * one with most images.
 *
 * @param {Layer} layer
 * @param {Layer | null} before the layer of k − 1
 * @returns {(number | null)[]} for each prototype, the one of `before` that it split from; null for one that was there
 */
export function splitFrom(layer, before) {
  /** @type {Map<number, number[]>} */
  const children = new Map();
  if (before) {
    layer.parent.forEach((parent, p) => {
      if (parent >= 0) children.set(parent, [...(children.get(parent) ?? []), p]);
    });
  }
  return layer.parent.map((parent, p) => {
    const siblings = children.get(parent) ?? [p];
    const largest = siblings.reduce((best, other) => (layer.count[other] > layer.count[best] ? other : best));
    return p === largest ? null : parent;
  });
}

/**
 * What the last step did to a class, in a sentence; "" where nothing is known of it.
 *
 * @param {Layer} layer
 * @param {Layer | null} before
 * @param {number[]} members prototypes of a class
 */
export function lastStepOf(layer, before, members) {
  if (!before) return '';
  const parents = [...new Set(members.map((p) => layer.parent[p]))].filter((parent) => parent >= 0);
  const splits = parents.flatMap((parent) => {
    const children = members.filter((p) => layer.parent[p] === parent).map((p) => numberOf(layer, p));
    return children.length > 1 ? [`${numberOf(before, parent)} split into ${joined(children)}`] : [];
  });
  if (!splits.length) return '';
  const had = before.class.filter((label) => label === layer.class[members[0]]).length;
  return `From ${counted(had, 'prototype')}: ${splits.join('; ')}.`;
}

/**
 * "1", "1 and 2", "1, 2 and 3".
 *
 * @param {(number | string)[]} parts
 */
export const joined = (parts) =>
  parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts[parts.length - 1]}`;

/**
 * How many of the images that a prototype is nearest to have its class, in one split.
 *
 * @param {Layer} layer
 * @param {Cloud} cloud
 * @param {number} p
 * @returns {{ images: number, right: number }} of the test split
 */
export function testImagesOf(layer, cloud, p) {
  let images = 0;
  let right = 0;
  for (let i = cloud.train; i < cloud.total; i += 1) {
    if (layer.nearest[i] !== p) continue;
    images += 1;
    if (cloud.labels[i] === layer.class[p]) right += 1;
  }
  return { images, right };
}

/**
 * The index of an image by its name ("train-3", "test-4"), -1 for none.
 *
 * @param {Cloud} cloud
 * @param {string} name
 */
export function imageOf(cloud, name) {
  const [, split, digits] = /^(train|test)-(\d{1,9})$/.exec(name) ?? [];
  if (!split) return -1;
  const i = split === 'train' ? Number(digits) : cloud.train + Number(digits);
  return i < (split === 'train' ? cloud.train : cloud.total) ? i : -1;
}

/**
 * An image in words: "Training image 1,234".
 *
 * @param {Cloud} cloud
 * @param {number} i
 */
export const imageTitle = (cloud, i) => `${i < cloud.train ? 'Training' : 'Test'} image ${count(numberIn(cloud, i))}`;

/**
 * The picture of a prototype: its exemplar; "" for none.
 *
 * @param {Layer} layer
 * @param {string} folder of thumbnails
 * @param {number} p
 * @param {(address: string) => string} picture
 */
export const exemplarOf = (layer, folder, p, picture) =>
  layer.picture[p] < 0 ? '' : picture(`${folder}train/${layer.picture[p]}.png`);

/**
 * The address of an image's thumbnail below the folder of pictures.
 *
 * @param {Cloud} cloud
 * @param {number} i
 */
export const thumbnailOf = (cloud, i) => `${i < cloud.train ? 'train' : 'test'}/${numberIn(cloud, i)}.png`;
