// @ts-check
// The part of the matrix that needs no DOM: where keys move, and where a mark leads.

/** @typedef {[row: number, column: number]} Place */

/**
 * The address of Explore with some images selected.
 *
 * @param {string} explore the address with the selected model, without conditions
 * @param {string[]} conditions all of which must hold
 */
export function addressOf(explore, conditions) {
  const joint = explore.includes('?') ? '&' : '?';
  const query = conditions.map((condition) => `select=${encodeURIComponent(condition)}`).join('&');
  return query ? explore + joint + query : explore;
}

/**
 * The cell that a key moves to: the next in its direction that can be focused, else the same.
 *
 * @param {boolean[][]} rows which cells of each row can be focused
 * @param {Place} place the focused one
 * @param {string} key of a keyboard event
 * @returns {Place | null} null for a key that does not move
 */
export function moved(rows, [row, column], key) {
  if (key === 'ArrowRight' || key === 'ArrowLeft') {
    return along(rows[row], column, key === 'ArrowRight' ? 1 : -1, (next) => [row, next]) ?? [row, column];
  }
  if (key === 'Home') return [row, rows[row].indexOf(true)];
  if (key === 'End') return [row, rows[row].lastIndexOf(true)];
  if (key === 'ArrowDown' || key === 'ArrowUp') {
    const down = key === 'ArrowDown' ? 1 : -1;
    for (let next = row + down; next >= 0 && next < rows.length; next += down) {
      const nearest = nearestTo(rows[next], column);
      if (nearest >= 0) return [next, nearest];
    }
    return [row, column];
  }
  return null;
}

/**
 * @param {boolean[]} cells
 * @param {number} from
 * @param {number} step
 * @param {(column: number) => Place} place
 */
function along(cells, from, step, place) {
  for (let next = from + step; next >= 0 && next < cells.length; next += step) {
    if (cells[next]) return place(next);
  }
  return null;
}

/**
 * The cell nearest to a column that can be focused; −1 for none.
 *
 * @param {boolean[]} cells
 * @param {number} column
 */
function nearestTo(cells, column) {
  let nearest = -1;
  cells.forEach((there, i) => {
    if (there && (nearest < 0 || Math.abs(i - column) < Math.abs(nearest - column))) nearest = i;
  });
  return nearest;
}
