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
    this.show({ [name]: value });
  }

  /** Several at once: who listens is called once. */
  show(traits) {
    const changed = Object.keys(traits).filter((name) => this.traits[name] !== traits[name]);
    Object.assign(this.traits, traits);
    const events = ["change", ...changed.map((name) => `change:${name}`)];
    for (const { names, call } of changed.length ? [...this.listeners] : []) {
      if (names.some((name) => events.includes(name))) call();
    }
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
