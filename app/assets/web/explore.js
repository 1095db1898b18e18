// @ts-check
// Explore on a page of the dashboard: the map, the prototypes and the timeline over their number.

import { serverTransport } from './explore/transport.js';
import { Workspace } from './explore/workspace.js';

/** @typedef {import('./dom.js').Component<import('./explore/state.js').WorkspaceData>} ExploreComponent */

/** @type {WeakMap<HTMLElement, Workspace>} */
const shown = new WeakMap();
/** @type {Workspace | null} */
let idle = null; // that of the last page, so that coming back costs nothing and shows the same

/**
 * @param {ExploreComponent} component
 * @returns {Promise<() => void>} what takes it off the page
 */
export async function show(component) {
  const { parentElement, data } = component;
  let workspace = shown.get(parentElement);
  if (!workspace) {
    if (idle?.base === data.base) workspace = idle;
    else {
      idle?.destroy();
      workspace = new Workspace(serverTransport(data.base));
    }
    idle = null;
    shown.set(parentElement, workspace);
    parentElement.append(workspace.root);
  }
  await workspace.update(data, {
    tell: (address) => component.setStateValue('address', address),
    open: (target) => component.setTriggerValue('open', target),
  });
  return () => {
    shown.delete(parentElement);
    workspace.leave();
    idle = workspace;
  };
}
