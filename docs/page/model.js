// What the studio's elements (styletutor/widgets/static) need of a model, as anywidget gives it.

export class Model {
  /** @param {Record<string, unknown>} traits @param {(content: any, buffers: any[]) => void} [receive] */
  constructor(traits, receive) {
    Object.assign(this, { traits, receive, listeners: [] });
  }

  get(name) {
    return this.traits[name];
  }

  set(name, value) {
    if (this.traits[name] === value) return;
    this.traits[name] = value;
    for (const { names, call } of [...this.listeners]) {
      if (names.includes(`change:${name}`) || names.includes("change")) call();
    }
  }

  /** Several at once. */
  show(traits) {
    for (const [name, value] of Object.entries(traits)) this.set(name, value);
  }

  save_changes() {}

  on(names, call) {
    this.listeners.push({ names: names.split(" "), call });
  }

  off(names, call) {
    this.listeners = this.listeners.filter((one) => one.call !== call);
  }

  send(content, _, buffers) {
    this.receive?.(content, buffers);
  }
}

/** An element of the studio with its model: `[model, node]`. */
export function element(module, traits, receive) {
  const model = new Model(traits, receive);
  const node = document.createElement("div");
  module.render({ model, el: node });
  return [model, node];
}

/** `make("button", {className: "…", onclick: …}, children)` */
export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
