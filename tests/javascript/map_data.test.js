import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as data from '../../app/assets/web/map/data.js';
import { drawnImages } from '../../app/assets/web/explore/drawn.js';
import { indices, maskOf } from '../../app/assets/web/map/mask.js';

// images as the server sends them: places, labels, the black box's predictions
const buffer = (places, labels, blackBox, far) => {
  const bytes = new Uint8Array(13 * labels.length);
  bytes.set(new Uint8Array(Float32Array.from(places).buffer), 0);
  bytes.set(new Uint8Array(Uint16Array.from(labels).buffer), 8 * labels.length);
  bytes.set(new Uint8Array(Uint16Array.from(blackBox).buffer), 10 * labels.length);
  bytes.set(Uint8Array.from(far), 12 * labels.length);
  return bytes.buffer;
};

const PLACES = [0, 10, 4, 10, 2, 12, 20, 15];
const bytes = buffer(PLACES, [0, 0, 1, 1], [0, 1, 1, 0], [0, 1, 0, 1]);
const cloud = data.readCloud({ url: 'maps/a.bin', train: 3, test: 1 }, bytes);
const layer = {
  x: [0, 4],
  y: [10, 12],
  class: [0, 1],
  share: [0.256, 0],
  count: [1234, 0],
  picture: [7, -1],
  ghost: [false, true],
  far: [false, true],
  predicted: Uint16Array.of(0, 1, 0, 1),
};
const shown = { names: ['cat', 'dog'], by: 'KMEx', beside: true };

test('a cloud has training images first, then test images', () => {
  assert.equal(cloud.total, 4);
  assert.deepEqual([...cloud.labels], [0, 0, 1, 1]);
  assert.deepEqual([...cloud.blackBox], [0, 1, 1, 0]);
  assert.deepEqual([...cloud.far], [0, 1, 0, 1]);
});

test('places fit into -1…1 with a margin, and keep their proportions', () => {
  const close = (value, wanted) => assert.ok(Math.abs(value - wanted) < 1e-6, `${value} is not ${wanted}`);
  close(cloud.xs[0], -1 / 1.05);
  close(cloud.xs[3], 1 / 1.05);
  close(cloud.ys[0], -0.25 / 1.05); // 2.5 below the middle, where half the width is 10
  close(cloud.normal(20, 0), cloud.xs[3]);
  close(cloud.normal(15, 1), cloud.ys[3]);
});

test('one image lies in the middle', () => {
  const single = data.readCloud({ url: '', train: 1, test: 0 }, buffer([7, -3], [0], [0], [0]));
  assert.deepEqual([single.xs[0], single.ys[0]], [0, 0]);
});

test('a class is named at the median of its training images', () => {
  const xs = Float32Array.of(10, 9, -100, 100, 5);
  const ys = Float32Array.of(1, 2, 3, 4, 5);
  const labels = Uint16Array.of(3, 3, 3, 0, 3);
  assert.deepEqual(data.nameplaces(xs, ys, labels, 4), [
    [3, 9, 2],
    [0, 100, 4],
  ]);
});

test('the images to show', () => {
  const shown = (show, classes, withTest) => {
    const mask = drawnImages(cloud, layer, { show, classes: classes && new Set(classes), test: withTest });
    return mask && indices(mask);
  };
  assert.equal(shown('all', null, true), null);
  assert.deepEqual(shown('all', null, false), [0, 1, 2]);
  assert.deepEqual(shown('all', [1], true), [2, 3]);
  assert.deepEqual(shown('all', [], true), []);
  assert.deepEqual(shown('wrong', null, true), [1, 2]);
  assert.deepEqual(shown('disagree', null, true), [2, 3]);
  assert.deepEqual(shown('disagree', [1], false), [2]);
});

test('names of images and prototypes lead back to them', () => {
  for (let image = 0; image < cloud.total; image += 1) {
    assert.deepEqual(data.namedBy(cloud, layer, data.nameOf(cloud, image)), { image });
  }
  assert.equal(data.nameOf(cloud, 3), 'test-0');
  assert.deepEqual(data.namedBy(cloud, layer, 'prototype-1'), { prototype: 1 });
});

test('what is not on the map has no place', () => {
  for (const name of ['', 'train', 'train-3', 'test-1', 'prototype-2', 'prototype--1', 'train-x', 'other-0']) {
    assert.equal(data.namedBy(cloud, layer, name), null, name);
  }
});

test('what is said of a prototype', () => {
  assert.deepEqual(data.aboutPrototype(layer, shown, 0), {
    picture: 'train/7',
    lines: ['Prototype 1 of cat', '26 % of its class, 1,234 images'],
  });
  assert.deepEqual(data.aboutPrototype(layer, shown, 1), {
    picture: null,
    lines: ['Prototype 1 of dog', 'a ghost: not the nearest prototype of any image', data.FAR],
  });
});

test('what is said of an image', () => {
  assert.deepEqual(data.aboutImage(cloud, layer, shown, 3), {
    picture: 'test/0',
    lines: ['Test image 0: dog', 'KMEx predicts dog ✓, black box cat ✗', data.FAR],
  });
  assert.deepEqual(data.aboutImage(cloud, layer, { ...shown, beside: false }, 1), {
    picture: 'train/1',
    lines: ['Training image 1: cat', 'KMEx predicts dog ✗', data.FAR],
  });
});

test('only images that are shown are marked as far from all others', () => {
  assert.deepEqual(data.farOf(cloud, null), [1, 3]);
  assert.deepEqual(
    data.farOf(
      cloud,
      maskOf(4, (i) => i < 3),
    ),
    [1],
  );
});

test('dots of many images are smaller and paler, and grow when one comes nearer', () => {
  const [few, many, near] = [data.dots(1000, 1), data.dots(70000, 1), data.dots(70000, 10)];
  assert.ok(many.train < few.train && many.opacity < few.opacity && many.train < many.test);
  assert.ok(near.train > many.train && data.dots(70000, 1e6).train < 10);
});

test('a cloud knows how far its images reach', () => {
  assert.ok(Math.abs(cloud.reach[0] - 1 / 1.05) < 1e-6 && Math.abs(cloud.reach[1] - 0.25 / 1.05) < 1e-6);
});
