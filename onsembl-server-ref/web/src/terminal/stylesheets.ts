// Makes xterm.js work under a content security policy without `unsafe-inline`: its style elements become constructed
// style sheets, and its style attributes are set by the object model. The browser scenarios fail on any violation.

const installed = new WeakSet<Document>();

/** Something that takes CSS as a text and is no style element. */
function standIn(of: Document): HTMLElement {
  const sheet = new CSSStyleSheet();
  const element = of.createElement("span");
  element.hidden = true;
  of.adoptedStyleSheets.push(sheet);
  let text = "";
  Object.defineProperties(element, {
    textContent: {
      get: () => text,
      set: (value: string | null) => {
        text = value ?? "";
        sheet.replaceSync(text);
      },
    },
    sheet: { value: sheet },
    remove: {
      value: () => {
        of.adoptedStyleSheets = of.adoptedStyleSheets.filter((other) => other !== sheet);
        Element.prototype.remove.call(element);
      },
    },
  });
  return element;
}

/**
 * Installs it, once for a document. Other style attributes of the page gain from it nothing and lose nothing: setting the
 * attribute and setting its text by the object model differ only in what the policy says of them.
 */
export function constructedStyles(of: Document): void {
  if (installed.has(of)) return;
  installed.add(of);
  const create = of.createElement.bind(of) as (name: string, options?: ElementCreationOptions) => HTMLElement;
  of.createElement = ((name: string, options?: ElementCreationOptions): HTMLElement =>
    name.toLowerCase() === "style" ? standIn(of) : create(name, options)) as typeof of.createElement;
  const set = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function (this: Element, name: string, value: string): void {
    if (name === "style" && "style" in this) (this as HTMLElement).style.cssText = value;
    else set.call(this, name, value);
  };
}
