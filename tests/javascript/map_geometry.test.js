import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as geometry from '../../app/assets/web/map/geometry.js';

// a map 200 pixels wide and high that shows -1…1; y points up
const sceneOf = (layer, classes = null) => {
  const [x, y] = [geometry.linear(), geometry.linear()];
  x.range([0, 200]);
  y.range([200, 0]);
  const cloud = {
    train: 1,
    total: 2,
    xs: Float32Array.of(0, 1),
    ys: Float32Array.of(0, -1),
    normal: (value) => value / 10,
  };
  return { x, y, cloud, layer, data: { classes } };
};
const LAYER = { x: [0, 0, 5], y: [0, 0, -5], class: [0, 1, 1], share: [0.25, 1, 0], ghost: [false, false, true] };

test('a scale places its domain on its range, and is set as one of d3', () => {
  const scale = geometry.linear();
  assert.equal(scale.domain([2, 4]), scale);
  assert.equal(scale.range([100, 0]), scale);
  assert.deepEqual(
    [scale.domain(), scale.range()],
    [
      [2, 4],
      [100, 0],
    ],
  );
  assert.deepEqual([2, 3, 4, 5].map(scale), [100, 50, 0, -50]);
});

test('many prototypes are drawn smaller, within bounds', () => {
  assert.deepEqual([1, 150, 600, 1e6].map(geometry.sizeFor), [1, 1, 0.5, 0.4]);
});

test('a prototype is larger when it stands for more images', () => {
  assert.deepEqual(
    [0, 1, 2].map((p) => geometry.sideOf(LAYER, p)),
    [11, 17, 5],
  );
});

test('images and prototypes are placed on the screen', () => {
  const scene = sceneOf(LAYER);
  assert.deepEqual(geometry.imagePlace(scene, 1), [200, 200]);
  assert.deepEqual(geometry.prototypePlace(scene, 2), [150, 150]);
});

test('a ring lies around what is selected', () => {
  const scene = sceneOf(LAYER);
  assert.deepEqual(geometry.ringOf(scene, 'prototype-1'), { place: [100, 100], radius: 21 });
  assert.deepEqual(geometry.ringOf(scene, 'test-0'), { place: [200, 200], radius: 9 });
  assert.equal(geometry.ringOf(scene, 'prototype-3'), null);
});

test('the uppermost prototype under the pointer is hit', () => {
  const scene = sceneOf(LAYER);
  assert.equal(geometry.prototypeUnder(scene, [100, 100]), 0);
  assert.equal(geometry.prototypeUnder(scene, [107.5, 100]), 0); // half a side and two pixels
  assert.equal(geometry.prototypeUnder(scene, [109, 100]), 1); // the larger one below it
  assert.equal(geometry.prototypeUnder(scene, [111, 100]), -1);
  assert.equal(geometry.prototypeUnder(scene, [156, 150]), 2); // a ghost reaches its whole side
});

test('what is not shown is not hit', () => {
  assert.equal(geometry.prototypeUnder(sceneOf(LAYER, [1]), [100, 100]), 1);
  assert.equal(geometry.prototypeUnder(sceneOf(LAYER, []), [100, 100]), -1);
});

test('the pointer is on a dot up to twelve pixels from it', () => {
  const scene = sceneOf(LAYER);
  assert.ok(geometry.isOnDot(scene, 0, [108, 108]));
  assert.ok(!geometry.isOnDot(scene, 0, [109, 109]));
});

test('the tool tip lies beside its place and within the map', () => {
  const [tip, map] = [
    { width: 100, height: 40 },
    { width: 400, height: 300 },
  ];
  assert.deepEqual(geometry.tipCorner([100, 150], tip, map), [116, 130]);
  assert.deepEqual(geometry.tipCorner([300, 150], tip, map), [184, 130]); // no room to the right
  assert.deepEqual(geometry.tipCorner([100, 5], tip, map), [116, 4]);
  assert.deepEqual(geometry.tipCorner([100, 299], tip, map), [116, 256]);
  assert.deepEqual(geometry.tipCorner([60, 5], { width: 380, height: 310 }, map), [4, 4]); // larger than the map
});

test('a link names the middle and the smaller side of what is seen, and leads back to it', () => {
  assert.equal(geometry.viewText([-0.5, 0.7], [0.1, 0.5]), '0.1000_0.3000_0.4000');
  assert.equal(geometry.viewText([0, 1e-6], [0, 1e-6]), '0.0000_0.0000_0.0001');
  assert.deepEqual(geometry.viewArea('0.5000_-0.2500_0.5000'), { x: 0.25, y: -0.5, width: 0.5, height: 0.5 });
});

test('zooming keeps the middle and the shape', () => {
  assert.deepEqual(geometry.zoomed([-1, 3], [0, 2], 0.5), { x: 0, y: 0.5, width: 2, height: 1 });
  assert.deepEqual(geometry.zoomed([-1, 1], [-1, 1], 2), { x: -2, y: -2, width: 4, height: 4 });
});
