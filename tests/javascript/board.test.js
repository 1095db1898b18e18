import assert from 'node:assert/strict';
import { test } from 'node:test';

import { curveLines, onScale, prototypeTitle, shownClasses } from '../../app/assets/web/explore/board_parts.js';
import { chosenFile, MOST_BYTES } from '../../app/assets/web/explore/drop.js';

const file = (name, type = 'image/png', size = 10) => ({ name, type, size });

test('of several files the first picture is taken, and that is said', () => {
  assert.deepEqual(chosenFile([file('a.png')]), { file: file('a.png'), message: '' });
  const { file: taken, message } = chosenFile([file('a.txt', 'text/plain'), file('b.png'), file('c.png')]);
  assert.equal(taken?.name, 'b.png');
  assert.equal(message, "Of 3 files, 'b.png' is shown.");
});

test('a file whose type the browser does not know may be a picture', () => {
  assert.equal(chosenFile([file('scan.dcm', '')]).file?.name, 'scan.dcm');
});

test('what is no file, or too large, gets a sentence', () => {
  assert.equal(chosenFile([]).file, null);
  assert.match(chosenFile([]).message, /no picture/);
  const { file: taken, message } = chosenFile([file('<b>.tif', 'image/tiff', MOST_BYTES + 1)]);
  assert.equal(taken, null);
  assert.equal(message, "'<b>.tif' has 64.0 MB; the limit is 64 MB.");
});

test('the likeliest classes are shown, and those that must be', () => {
  const posterior = [0.1, 0.3, 0, 0.2, 0.15, 0.25, 0];
  assert.deepEqual(shownClasses(posterior, [2, null]), [1, 5, 3, 4, 0, 2]);
  assert.deepEqual(shownClasses([0.4, 0.6], [0]), [1, 0]);
});

test('a prototype is called by its number in its class, or by the name that someone gave it', () => {
  assert.equal(prototypeTitle({ place: '3.0', name: '' }), 'Prototype 1');
  assert.equal(prototypeTitle({ place: '0.11', name: '<b>hat</b>' }), '<b>hat</b>');
});

test('distances, the usual one and the limit are on one scale', () => {
  const { bars, usual, limit } = onScale([2, 6], [2, 4]);
  assert.equal(bars[0], usual);
  assert.ok(bars[1] < 1 && bars[1] > 0.9);
  assert.ok(Math.abs(limit / usual - 2) < 1e-12);
  assert.ok(onScale([1], [2, 4]).limit < 1);
});

test('a curve begins at all of the margin and stays inside its drawing', () => {
  const lines = curveLines({
    shares: [0, 0.1, 0.3],
    map: [1, 0.2, -1.5],
    random: [1, 0.9, 0.8],
    brightness: [1, 1.2, 0.1],
  });
  const points = (text) => text.split(' ').map((point) => point.split(',').map(Number));
  for (const name of ['map', 'random', 'brightness']) {
    const found = points(lines[name]);
    assert.equal(found[0][1], Number(lines.all.toFixed(1)));
    for (const [x, y] of found) assert.ok(x >= 34 && x <= 260 && y >= 0 && y <= 120, name);
  }
  assert.ok(points(lines.map)[2][1] > lines.none); // below 0
  assert.ok(points(lines.brightness)[1][1] < lines.all); // above all of it
});
