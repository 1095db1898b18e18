import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as overlay from '../../app/assets/web/relevance/overlay.js';

const MIDDLE = (overlay.LEVELS - 1) / 2;
const SCALE = {
  anchors: [
    [0, 0, 255],
    [255, 255, 255],
    [255, 0, 0],
  ],
  fades: true,
};

test('relevance of 0 has a level of its own, in the middle', () => {
  assert.deepEqual([...overlay.levels(Float32Array.of(-1, 0, 1))], [0, MIDDLE, overlay.LEVELS - 1]);
});

test('bytes are signed, and small relevance is packed finer', () => {
  const text = Buffer.from(Int8Array.of(-127, 0, 127, 64).buffer).toString('base64');
  const values = overlay.unpacked(text, 0.5);
  assert.deepEqual([...values.slice(0, 3)], [-1, 0, 1]);
  assert.ok(Math.abs(values[3] - (64 / 127) ** 2) < 1e-6);
});

test('colours lie between the anchors of their scale', () => {
  const { red, green, blue } = overlay.tableOf(SCALE);
  const colour = (level) => [red[level], green[level], blue[level]];
  assert.deepEqual(colour(0), [0, 0, 255]);
  assert.deepEqual(colour(MIDDLE), [255, 255, 255]);
  assert.deepEqual(colour(overlay.LEVELS - 1), [255, 0, 0]);
  const [half] = [red[Math.round(MIDDLE / 2)]];
  assert.ok(Math.abs(half - 127.5) < 0.2);
});

test('a picture is made grey as Pillow does it', () => {
  const pixels = Uint8ClampedArray.of(255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 255, 255, 255, 255);
  assert.deepEqual([...overlay.greyOf(pixels)], [76, 150, 29, 255]);
});

test('a map fades where relevance is 0, and covers the picture where it is not', () => {
  const pixels = new Uint8ClampedArray(12).fill(9);
  const steps = Uint16Array.of(0, MIDDLE, overlay.LEVELS - 1);
  const grey = Uint8Array.of(100, 100, 100);
  overlay.blend(pixels, grey, steps, overlay.tableOf(SCALE), 1, 0.5);
  assert.deepEqual([...pixels], [0, 0, 255, 9, 100, 100, 100, 9, 255, 0, 0, 9]);
  overlay.blend(pixels, grey, steps, overlay.tableOf({ ...SCALE, fades: false }), 0.5, 0.5);
  assert.deepEqual([...pixels.slice(4, 7)], [178, 178, 178]); // 177.5, rounded
  overlay.blend(pixels, grey, steps, overlay.tableOf(SCALE), 0, 0.5);
  assert.deepEqual([...pixels.slice(0, 3)], [100, 100, 100]);
});

test('stretching to the same size changes nothing', () => {
  const values = Float32Array.of(1, -2, 3, 4, 5, -6);
  assert.deepEqual(overlay.stretched(values, 3, 2, 3, 2), values);
});

test('enlarged values are interpolated, reduced ones are averaged', () => {
  assert.deepEqual([...overlay.stretched(Float32Array.of(0, 1), 2, 1, 4, 1)], [0, 0.25, 0.75, 1]);
  const [mean] = overlay.stretched(Float32Array.of(1, 2, 3, 4), 2, 2, 1, 1);
  assert.ok(Math.abs(mean - 2.5) < 1e-6);
});

test('the shares of a pixel sum to 1', () => {
  for (const [count, pixels] of [
    [7, 224],
    [224, 7],
    [1, 5],
    [13, 13],
  ]) {
    for (const parts of overlay.shares(count, pixels)) {
      const sum = parts.reduce((total, [, share]) => total + share, 0);
      assert.ok(Math.abs(sum - 1) < 1e-12, `${count} to ${pixels}`);
    }
  }
});

test('the box of a map is in whole pixels, and never empty', () => {
  assert.deepEqual(overlay.boxPixels([0, 0, 1, 1], 300, 200), [0, 0, 300, 200]);
  assert.deepEqual(overlay.boxPixels([0.25, 0.5, 0.751, 1], 10, 4), [3, 2, 8, 4]);
  assert.deepEqual(overlay.boxPixels([0.999, 0, 1, 0.001], 10, 4), [9, 0, 10, 1]);
});

test('what the network does not see is pale', () => {
  const pixels = new Uint8ClampedArray(8).fill(9);
  overlay.blanch(pixels, Uint8Array.of(0, 200));
  assert.deepEqual([...pixels], [191, 191, 191, 9, 241, 241, 241, 9]);
});
