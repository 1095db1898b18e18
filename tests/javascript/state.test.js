import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Turns } from '../../app/assets/web/explore/state.js';

const NOTHING = { colour: 'class', show: 'all', classes: [], test: false, select: [], point: '', view: '' };
const PICKED = { ...NOTHING, point: 'train-3' };

test('what is taken back before Python has answered is told, and the answer to what was taken back changes nothing', () => {
  const turns = new Turns();
  turns.take(0, NOTHING);
  assert.equal(turns.isNews(PICKED), true);
  const turn = turns.tell(PICKED);
  // Python still gives what it gave: to take the choice back is news for it all the same
  assert.equal(turns.isNews(NOTHING), true);
  turns.dirty = true;
  assert.equal(turns.counts(turn), false);
  assert.equal(turns.tell(NOTHING), turn + 1);
  assert.equal(turns.counts(turn), false);
  assert.equal(turns.counts(turn + 1), true);
});

test('what both know is not told again, what comes before a pending choice has gone is', () => {
  const turns = new Turns();
  assert.equal(turns.isNews(NOTHING), true);
  turns.take(4, PICKED);
  assert.equal(turns.isNews({ ...PICKED }), false);
  assert.equal(turns.counts(4), true);
  turns.dirty = true;
  assert.equal(turns.isNews({ ...PICKED }), true);
});
