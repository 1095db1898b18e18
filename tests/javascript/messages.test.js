// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Messages } from '../../app/assets/web/notebook/messages.js';

/** @typedef {import('../../app/assets/web/notebook/messages.js').Listener} Listener */

class Kernel {
  constructor() {
    /** @type {{ content: { id: string, method: string, address: string, name: string }, buffers: ArrayBuffer[] }[]} */
    this.sent = [];
    /** @type {Set<Listener>} */
    this.listeners = new Set();
    /** @type {import('../../app/assets/web/notebook/messages.js').Model} */
    this.model = {
      get: () => null,
      set: () => {},
      save_changes: () => {},
      send: (content, _, buffers = []) =>
        void this.sent.push({
          content: /** @type {{ id: string, method: string, address: string, name: string }} */ (content),
          buffers,
        }),
      on: (_, listener) => void this.listeners.add(listener),
      off: (_, listener) => void this.listeners.delete(listener),
    };
  }

  /**
   * @param {import('../../app/assets/web/notebook/messages.js').Reply} reply
   * @param {DataView[]} [buffers]
   */
  answer(reply, buffers = []) {
    for (const listener of this.listeners) listener(reply, buffers);
  }
}

/** The bytes at an odd place of a larger buffer, as a socket has them. @param {number[]} bytes */
function inside(bytes) {
  const whole = new Uint8Array(bytes.length + 8);
  whole.set(bytes, 3);
  return new DataView(whole.buffer, 3, bytes.length);
}

test('an answer is a buffer of its own, for the view that asked', async () => {
  const kernel = new Kernel();
  const [one, other] = [new Messages(kernel.model), new Messages(kernel.model)];
  const [a, b] = [one.transport.bytes('cloud/1.bin'), other.transport.bytes('cloud/2.bin')];
  const [{ content: first }, { content: second }] = kernel.sent;
  assert.notEqual(first.id, second.id);
  assert.deepEqual([first.method, first.address], ['GET', 'cloud/1.bin']);
  kernel.answer({ id: second.id }, [inside([2, 2])]);
  kernel.answer({ id: first.id }, [inside([1, 2, 3])]);
  kernel.answer({ id: first.id }, [inside([9])]); // nobody waits for it any more
  assert.deepEqual(new Uint8Array(await a), Uint8Array.of(1, 2, 3));
  assert.equal((await b).byteLength, 2);
});

test('JSON is read, files are sent, refusals are errors', async () => {
  const kernel = new Kernel();
  const { transport } = new Messages(kernel.model);
  const json = transport.json('prototype/1.json');
  kernel.answer({ id: kernel.sent[0].content.id }, [inside([...new TextEncoder().encode('{"name":"ü"}')])]);
  assert.deepEqual(await json, { name: 'ü' });
  const sent = transport.send('pictures', new Blob([Uint8Array.of(7, 8)]), 'a.png');
  await new Promise((resolve) => setTimeout(resolve));
  const { content, buffers } = kernel.sent[1];
  assert.deepEqual([content.method, content.name, [...new Uint8Array(buffers[0])]], ['POST', 'a.png', [7, 8]]);
  kernel.answer({ id: content.id, error: 'No picture.' });
  await assert.rejects(sent, new Error('No picture.'));
  const text = transport.send('edits', '{}');
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(new TextDecoder().decode(kernel.sent[2].buffers[0]), '{}');
  kernel.answer({ id: kernel.sent[2].content.id }, [inside([])]);
  assert.equal((await text).byteLength, 0);
});

test('a picture that is not here yet is named by its address; what is left is refused at the end', async () => {
  const kernel = new Kernel();
  const messages = new Messages(kernel.model);
  assert.match(
    messages.transport.picture('pictures/train/3.png'),
    /^data:image\/gif;base64,[^#]+#pictures\/train\/3\.png$/,
  );
  assert.equal(messages.transport.picture('data:image/png;base64,AA=='), 'data:image/png;base64,AA==');
  const waiting = messages.transport.bytes('cloud/1.bin');
  messages.destroy();
  await assert.rejects(waiting, /closed/);
  assert.equal(kernel.listeners.size, 0);
});
