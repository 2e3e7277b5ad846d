// Markdown, a little of it: paragraphs, lists, headings, bold, italic, code and links of this site. Never HTML.

export function words(text) {
  const box = document.createDocumentFragment();
  for (const block of String(text).trim().split(/\n\s*\n/)) {
    const lines = block.split("\n");
    const heading = /^(#{1,4})\s+(.*)$/.exec(lines[0]);
    if (heading) {
      const title = document.createElement(heading[1].length < 3 ? "h3" : "h4");
      inline(title, heading[2]);
      box.append(title);
      lines.shift();
      if (!lines.length) continue;
    }
    box.append(lines.every((line) => /^\s*[-*]\s+/.test(line)) ? list(lines) : paragraph(lines));
  }
  return box;
}

function list(lines) {
  const element = document.createElement("ul");
  for (const line of lines) {
    const item = document.createElement("li");
    inline(item, line.replace(/^\s*[-*]\s+/, ""));
    element.append(item);
  }
  return element;
}

function paragraph(lines) {
  const element = document.createElement("p");
  inline(element, lines.join(" "));
  return element;
}

const PARTS = /\*\*([^*]+)\*\*|\*([^*]+)\*|`([^`]+)`|\[([^\]]+)\]\(([^)\s]+)\)/g;

function inline(parent, text) {
  let end = 0;
  for (const match of text.matchAll(PARTS)) {
    parent.append(text.slice(end, match.index));
    end = match.index + match[0].length;
    parent.append(part(match));
  }
  parent.append(text.slice(end));
}

function part([whole, bold, italic, code, label, target]) {
  if (label !== undefined) {
    if (!/^\/(?!\/)[\w\-./?=&%#]*$/.test(target)) return document.createTextNode(whole);
    const link = document.createElement("a");
    link.href = target;
    link.textContent = label;
    return link;
  }
  const element = document.createElement(bold !== undefined ? "strong" : italic !== undefined ? "em" : "code");
  element.textContent = bold ?? italic ?? code;
  return element;
}
