// @ts-check
// The map of an embedding on a page. Python sends addresses and choices only.

import { EmbeddingMap } from './map/component.js';
import { aboutImage, aboutPrototype, readCloud } from './map/data.js';
import { readLayer, visible } from './map/embedding.js';

/** @typedef {import('./dom.js').Component<import('./map/embedding.js').MapData>} MapComponent */

/** @type {WeakMap<HTMLElement, PageMap>} */
const maps = new WeakMap();
/** @type {PageMap[]} */
const idle = []; // the map of the last page, so that coming back costs nothing and shows the same view
/** @type {WeakMap<Element, EmbeddingMap>} */
const roots = new WeakMap();

/**
 * Where an image ("train", "test") or a "prototype" is in the window, null for what is not on the map; for tests.
 *
 * @param {Element} root
 * @param {string} kind
 * @param {number} index
 */
export function places(root, kind, index) {
  const map = roots.get(root);
  const place = map?.placeOf(`${kind}-${index}`);
  const box = map?.canvas.getBoundingClientRect();
  return place && box ? [box.left + place[0], box.top + place[1]] : null;
}

/** @param {string} url */
async function fetched(url) {
  const answer = await fetch(new URL(url, document.baseURI));
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText} for ${url}`);
  return answer;
}

class PageMap {
  /** @param {MapComponent} component */
  constructor(component) {
    this.component = component;
    this.map = new EmbeddingMap(component.parentElement, {
      pick: (name) => name && this.component.setTriggerValue('picked', name),
      view: (text) => this.component.setStateValue('view', text),
    });
    this.map.root.classList.add('kx-map-pixelated');
    roots.set(this.map.root, this.map);
    this.turn = 0; // of `update`: a newer one overtakes
    /** @type {Map<string, import('./map/data.js').Prototypes>} */
    this.layers = new Map();
  }

  /** @param {MapComponent} component with what is to be shown now */
  async update(component) {
    const turn = ++this.turn;
    this.component = component;
    const { data } = component;
    try {
      const [cloud, layer] = await Promise.all([this.loadCloud(), this.loadLayer()]);
      if (turn !== this.turn) return; // a newer state has overtaken this one
      const classes = data.classes && new Set(data.classes);
      const address = (/** @type {string | null} */ picture) => picture && `${data.pictures}${picture}.png`;
      this.map.show({
        cloud,
        layer,
        names: data.names,
        paint: {
          colours: data.colours,
          category: cloud.labels,
          squares: Array.from(layer.class, (label) => data.colours[label]),
        },
        shown: visible(cloud, layer, { show: data.show, classes, test: data.test }),
        selected: null,
        classes,
        focus: null,
        marked: data.selected,
        outline: [],
        picture: null,
        view: data.view,
        instead: data.instead,
        about: (thing) => {
          const { picture, lines } =
            'prototype' in thing
              ? aboutPrototype(layer, data, thing.prototype)
              : aboutImage(cloud, layer, data, thing.image);
          return { picture: address(picture), lines };
        },
        from: null,
        splits: [],
      });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.map.fail(`The map could not be loaded (${reason}). Reload the page to try again.`);
    }
  }

  async loadCloud() {
    const { cloud } = this.component.data;
    if (this.map.shown?.cloud.url === cloud.url) return this.map.shown.cloud;
    return readCloud(cloud, await (await fetched(cloud.url)).arrayBuffer());
  }

  async loadLayer() {
    const { url } = this.component.data.layer;
    const layer = this.layers.get(url) ?? readLayer(await (await fetched(url)).json());
    this.layers.set(url, layer);
    return layer;
  }

  leave() {
    this.turn += 1;
    this.map.hover(null);
    this.map.root.remove();
  }
}

/** @param {MapComponent} component */
function mapFor(component) {
  const ready = idle.findIndex(({ map }) => map.shown?.cloud.url === component.data.cloud.url);
  const map = ready < 0 ? new PageMap(component) : idle.splice(ready, 1)[0];
  maps.set(component.parentElement, map);
  component.parentElement.append(map.map.root);
  return map;
}

/**
 * @param {MapComponent} component
 * @returns {Promise<() => void>} what takes the map off the page
 */
export async function show(component) {
  const { parentElement } = component;
  const map = maps.get(parentElement) ?? mapFor(component);
  await map.update(component);
  return () => {
    maps.delete(parentElement);
    map.leave();
    idle.unshift(map);
    while (idle.length > 1) idle.pop()?.map.destroy();
  };
}
