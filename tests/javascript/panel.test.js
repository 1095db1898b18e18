import assert from 'node:assert/strict';
import { test } from 'node:test';

import { cell, csvOf } from '../../app/assets/web/explore/csv.js';
import { attributesOf, predictions } from '../../app/assets/web/explore/image_card.js';
import { lineageLines, untangled } from '../../app/assets/web/explore/lineage.js';
import { closed, modeOf } from '../../app/assets/web/explore/panel_view.js';
import * as prototypes from '../../app/assets/web/explore/prototypes.js';
import { activated } from '../../app/assets/web/explore/selection_panel.js';
import * as rows from '../../app/assets/web/explore/table_rows.js';
import { cardSide } from '../../app/assets/web/gallery.js';

const ADDRESS = { colour: 'class', show: 'all', classes: [], test: false, select: [], point: '', picture: '' };
const cloud = {
  train: 4,
  total: 6,
  labels: Uint16Array.of(0, 0, 1, 1, 0, 1),
  blackBox: Uint16Array.of(0, 0, 1, 1, 65535, 0),
  xs: Float32Array.of(0, 0.5, 0.25, 0, 0, -1),
  ys: Float32Array.of(0, 0, 0, 0, 0, 1),
  far: new Uint8Array(6),
  normal: (value) => value / 10,
};
// class 0: two prototypes, both from the one before; class 1: a ghost, and one without a parent
const layer = {
  source: 'kmeans:2:0:auto',
  x: [1, 2, 3, 4],
  y: [0, 0, 0, 0],
  class: [0, 0, 1, 1],
  share: [0.5, 0.25, 0, 1],
  count: [1, 1200, 0, 2],
  others: [0, 1, 0, 3],
  ghost: [false, false, true, false],
  picture: [0, 1, -1, 3],
  place: ['0.0', '0.1', '1.0', '1.1'],
  name: ['', 'cats asleep', '', ''],
  note: ['', '', '', ''],
  parent: [0, 0, 1, -1],
  predicted: Uint16Array.of(0, 0, 1, 0, 0, 0),
  nearest: Uint16Array.of(0, 1, 3, 1, 1, 1),
};
const before = { class: [0, 1], place: ['0.0', '1.0'], picture: [0, 2] };
const model = { classes: ['cat', '=dog,'], attributes: ['Long_Hair', 'Cap'], by: 'KMEx', beside: true };
const attributes = {
  has: [Uint8Array.of(0b000101), Uint8Array.of(0b000111)],
  known: [Uint8Array.of(0b111101), Uint8Array.of(0b000111)],
};
const view = {
  data: { model },
  cloud,
  layer,
  before,
  attributes,
  address: ADDRESS,
  selection: null,
  shown: null,
  board: null,
};

test('what is on top follows the address: a card, the board, the selection, all prototypes', () => {
  const selection = { mask: new Uint8Array(1), conditions: ['wrong'] };
  const mode = (address, more) => modeOf({ ...view, selection, ...more, address: { ...ADDRESS, ...address } });
  assert.equal(mode({ point: 'prototype-0.1', picture: 'test-1' }, { board: {} }), 'prototype');
  assert.equal(mode({ point: 'test-1', picture: 'test-1' }, { board: {} }), 'image');
  assert.equal(mode({ point: 'test-2', picture: 'test-1' }, { board: {} }), 'board', 'there is no third test image');
  assert.equal(mode({ picture: 'test-1' }), 'selection', 'nothing draws a board');
  assert.equal(mode({}, { selection: null }), 'gallery');
  for (const name of ['prototype', 'image', 'board', 'selection']) {
    const address = { ...ADDRESS, point: 'test-1', picture: 'test-1', select: ['wrong'], ...closed(name) };
    const left = modeOf({ ...view, address, board: {}, selection: address.select.length ? selection : null });
    assert.notEqual(left, name, 'closing it shows what is beneath');
  }
});

test('prototypes are grouped by class and named by their place in it', () => {
  const groups = prototypes.byClass(layer, (label) => label < 2);
  assert.deepEqual(groups, [
    { label: 0, members: [0, 1] },
    { label: 1, members: [2, 3] },
  ]);
  assert.deepEqual(
    prototypes.byClass(layer, (label) => label === 1).map(({ label }) => label),
    [1],
  );
  assert.equal(prototypes.titleOf(layer, model, 1), 'Prototype 2 of cat');
});

test('importance says counts, shares, errors and ghosts', () => {
  assert.equal(
    prototypes.importanceOf(layer, model, 1, 4800),
    'The nearest prototype of 1,200 of the 4,800 training images of cat (25%). ' +
      'It also attracts 1 training image of other classes.',
  );
  assert.equal(
    prototypes.importanceOf(layer, { ...model, classes: ['cat', 'dog'] }, 2, 1),
    'A ghost: the nearest prototype of none of the 1 training image of dog. ' +
      'It attracts no training images of other classes.',
  );
  assert.deepEqual(prototypes.testImagesOf(layer, cloud, 1), { images: 2, right: 1 });
});

test('of prototypes that come from the same one, all but the largest are new', () => {
  assert.deepEqual(prototypes.splitFrom(layer, before), [0, null, null, null]);
  assert.deepEqual(prototypes.splitFrom(layer, null), [null, null, null, null]);
  assert.equal(prototypes.lastStepOf(layer, before, [0, 1]), 'From 1 prototype: 1 split into 1 and 2.');
  assert.equal(prototypes.lastStepOf(layer, before, [2, 3]), '');
  assert.equal(prototypes.lastStepOf(layer, null, [0, 1]), '');
  assert.equal(prototypes.joined([1, 2, 3]), '1, 2 and 3');
});

test('lines of the lineage lead from parents to children, and do not cross without need', () => {
  assert.deepEqual(lineageLines([0], [0, 1], layer.parent), [
    [0.5, 0.25],
    [0.5, 0.75],
  ]);
  assert.deepEqual(untangled([0, 1, 2], [5, 6, 7], { 5: 2, 6: 0, 7: 0 }), [2, 0, 1]);
});

test('an image has its predictions, and the attributes that are known', () => {
  assert.deepEqual(
    predictions({ ...view, data: { model: { ...model, classes: ['cat', 'dog'] } } }, 3).map(({ by, text }) => [
      by,
      text,
    ]),
    [
      ['KMEx', 'cat ✗'],
      ['Black box', 'dog ✓'],
    ],
  );
  assert.equal(predictions(view, 4).length, 1, 'a black box that says nothing');
  assert.deepEqual(
    [0, 1, 2, 3, 5].map((i) => attributesOf(view, i)),
    [['Long_Hair', 'Cap'], ['Cap'], ['Long_Hair', 'Cap'], [], []],
  );
  assert.equal(attributesOf({ ...view, attributes: null }, 0), null);
  const unknown = { has: attributes.has, known: [new Uint8Array(1), new Uint8Array(1)] };
  assert.equal(attributesOf({ ...view, attributes: unknown }, 0), null);
});

test('prototypes of a selection come with their images, most first', () => {
  assert.deepEqual(activated(layer.nearest, Uint8Array.of(0b101111)), [
    [1, 3],
    [0, 1],
    [3, 1],
  ]);
});

test('a spreadsheet shows cells of text, and computes none', () => {
  const formulas = ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', '=HYPERLINK("x"),'];
  assert.deepEqual(formulas.map(cell), [
    "'=1+1",
    "'+1",
    "'-1",
    "'@SUM(A1)",
    "'\t=1",
    '"\'\r=1"',
    '"\'=HYPERLINK(""x""),"',
  ]);
  assert.deepEqual(
    [cell('a "b", c'), cell('a\nb'), cell(-0.5), cell('plain')],
    ['"a ""b"", c"', '"a\nb"', '-0.5', 'plain'],
  );
});

test('the CSV has a line for each image, with what is here', () => {
  const certainty = { distance: Float32Array.from([1, 2, 3, 4, 5, 0.1]), confidence: new Float32Array(6).fill(0.9) };
  const lines = csvOf({ ...view, certainty }, [1, 5]).split('\r\n');
  assert.deepEqual(lines, [
    'split,index,class,predicted,black box,nearest prototype,distance,confidence,x,y,Long_Hair,Cap',
    'train,1,cat,cat,cat,cats asleep,2,0.9,0.5,0,,1',
    'test,1,"\'=dog,",cat,cat,cats asleep,0.1,0.9,-1,1,0,',
    '',
  ]);
  assert.equal(
    csvOf({ ...view, attributes: null }, [])
      .trim()
      .split(',').length,
    8,
  );
});

test('tables list what is shown or selected, and sort by number or name', () => {
  assert.deepEqual(rows.shownPrototypes({ ...view, address: { ...ADDRESS, classes: ['cat'] } }), [0, 1]);
  assert.deepEqual(rows.shownImages(view), [0, 1, 2, 3, 4, 5]);
  const shown = Uint8Array.of(0b001111);
  assert.deepEqual(rows.shownImages({ ...view, shown }), [0, 1, 2, 3], 'what the map draws');
  const selection = { mask: Uint8Array.of(0b100010), conditions: [] };
  assert.deepEqual(rows.shownImages({ ...view, shown, selection }), [1, 5]);
  const columns = Object.fromEntries(rows.columnsOfPrototypes(view).map((column) => [column.title, column]));
  assert.deepEqual(rows.sorted([0, 1, 2, 3], columns.Images, true), [1, 3, 0, 2]);
  assert.deepEqual(rows.sorted([0, 1, 2, 3], columns.Ghost, true), [2, 0, 1, 3], 'equal ones stay in their order');
  assert.deepEqual([columns.Images.text(1), columns.Ghost.text(2), columns.x.text(0)], ['1,200', 'ghost', '0.100']);
  assert.equal(columns.Prototype.point(3), 'prototype-1.1');
  const images = Object.fromEntries(rows.columnsOfImages(view).map((column) => [column.title, column]));
  assert.deepEqual([images.Image.text(5), images.Image.point(5)], ['Test image 1', 'test-1']);
  assert.deepEqual([images.KMEx.text(0), images['Black box'].text(4)], ['cat ✓', '']);
});

test('pictures of few prototypes are larger, those of images are not', () => {
  const group = (/** @type {number} */ cards, /** @type {number | null} */ share) => ({
    cards: Array(cards).fill({ share }),
  });
  assert.deepEqual(
    [1, 3, 4, 5, 20].map((count) => cardSide([group(1, 0.5), group(count, 0.5)])),
    [112, 112, 96, 75, 72],
  );
  assert.equal(cardSide([group(3, null)]), 72);
  assert.equal(cardSide([]), 72);
});
