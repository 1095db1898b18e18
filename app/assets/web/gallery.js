// Cards with pictures in rows by group: kept in place where they stay the same, so that nothing flickers.

const galleries = new WeakMap();

export async function show(component) {
  const { parentElement } = component;
  if (!galleries.has(parentElement)) galleries.set(parentElement, new Gallery(parentElement));
  galleries.get(parentElement).update(component);
  return () => {
    galleries.get(parentElement)?.root.remove();
    galleries.delete(parentElement);
  };
}

const element = (tag, className, parent, text) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  parent?.append(made);
  return made;
};

const set = (target, name, value) => {
  if (target.getAttribute(name) !== value) target.setAttribute(name, value);
};

// as many children as wanted, made and removed at the end
const fit = (parent, wanted, make) => {
  while (parent.children.length > wanted) parent.lastElementChild.remove();
  while (parent.children.length < wanted) parent.append(make());
  return [...parent.children];
};

class Gallery {
  constructor(parent) {
    this.root = element('div', 'kx-gallery', parent);
    this.root.addEventListener('click', (event) => this.click(event));
  }

  update(component) {
    this.component = component;
    const { groups, pixelated } = component.data;
    this.root.classList.toggle('kx-single', groups.length === 1);
    this.root.classList.toggle('kx-smooth', !pixelated);
    const rows = fit(this.root, groups.length, () => {
      const row = element('div', 'kx-class');
      const name = element('div', 'kx-name', row);
      element('i', 'kx-swatch', name);
      element('span', '', name);
      element('small', '', name);
      element('div', 'kx-cards', row);
      return row;
    });
    groups.forEach((group, at) => this.fill(rows[at], group));
  }

  fill(row, { title, note, colour, cards }) {
    const [name, list] = row.children;
    name.hidden = !title;
    name.children[0].style.background = colour ?? 'none';
    name.children[0].hidden = !colour;
    name.children[1].textContent = title ?? '';
    name.children[2].textContent = note ?? '';
    const shown = fit(list, cards.length, () => {
      const card = element('a', 'kx-card');
      element('img', '', card).setAttribute('loading', 'lazy');
      element('span', 'kx-caption', card);
      return card;
    });
    cards.forEach((card, at) => {
      const { id, href, picture, about, text, share, ghost, wrong } = card;
      const place = shown[at];
      place.dataset.id = id;
      if (href) set(place, 'href', href);
      else place.removeAttribute('href');
      set(place, 'title', about);
      place.className = `kx-card${ghost ? ' kx-ghost' : ''}${wrong ? ' kx-wrong' : ''}`;
      const [image, caption] = place.children;
      if (picture) set(image, 'src', this.component.data.pictures + picture + '.png');
      else image.removeAttribute('src');
      set(image, 'alt', about);
      if (caption.textContent !== text) caption.textContent = text;
      caption.classList.toggle('kx-share', share !== null && share !== undefined);
      caption.style.setProperty('--s', `${100 * (share ?? 0)}%`);
    });
  }

  click(event) {
    const card = event.target.closest('a.kx-card');
    if (!card?.href || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    this.component.setTriggerValue('picked', card.dataset.id);
  }
}
