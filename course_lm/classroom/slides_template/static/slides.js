/* Cuts each section of a page into slides that fit the screen, then starts reveal.js.

   What belongs together stays together where it fits: a heading and what follows, a sentence that
   ends with a colon or a comma and what follows, code and its output. Figures then take the room that is left. */

const HEIGHT = 720;
const SMALL = 0.85; // how much smaller a slide may become to hold what belongs together
const SMALLEST = 0.75; // and to hold what cannot be cut
const FIGURE = [1.25, 2]; // from and to how many times its size on the page

const make = (name, ...children) => {
  const element = document.createElement(name);
  element.append(...children);
  return element;
};

/* The smallest pieces that a slide can be cut into, each with what it is. */
function piecesOf(section) {
  const cells = [...section.querySelectorAll(".jp-Cell")].filter((cell) => !cell.closest("aside"));
  return cells.flatMap((cell) => {
    const fragment = cell.closest(".fragment");
    const found = cell.matches(".jp-MarkdownCell") ? textOf(cell) : codeOf(cell);
    return found.map((piece) => ({ ...piece, fragment }));
  });
}

function textOf(cell) {
  const blocks = [...cell.querySelector(".jp-RenderedMarkdown").children];
  return blocks.flatMap((block) => {
    const parts = block.matches("ul, ol") ? itemsOf(block) : [block];
    const holds = block.matches("h1, h2, h3") || /[:,]$/.test(block.innerText.trim());
    return parts.map((part) => {
      const element = make("div", part);
      element.className = "text";
      return { element, holds };
    });
  });
}

/* Each item of a list as a list of its own, with its number. */
function itemsOf(list) {
  return [...list.children].map((item, i) => {
    const one = make(list.localName, item);
    if (one.localName === "ol") one.start = i + 1;
    return one;
  });
}

function codeOf(cell) {
  const code = cell.querySelector(".jp-InputArea");
  const outputs = [...cell.querySelectorAll(".jp-OutputArea-child")].reduce(withCaption, []);
  const elements = code ? [code, ...outputs] : outputs;
  return elements.map((element, i) => ({ element, holds: i < elements.length - 1 }));
}

/* Each output in an area of its own, a figure together with its caption. */
function withCaption(areas, output) {
  const last = areas.at(-1);
  if (last?.childElementCount === 1 && last.querySelector("img")) {
    last.append(output);
    return areas;
  }
  const area = make("div", output);
  area.className = "jp-OutputArea";
  return [...areas, area];
}

/* Pieces in groups that are not cut where they fit on one slide. */
function groupsOf(pieces) {
  const groups = [];
  let open = false;
  for (const piece of pieces) {
    if (open) groups.at(-1).push(piece);
    else groups.push([piece]);
    open = piece.holds;
  }
  return groups;
}

function paginate(section, stack) {
  const groups = groupsOf(piecesOf(section));
  section.remove();
  const pages = [];
  const turn = () => {
    const page = stack.appendChild(make("section"));
    page.className = "page";
    pages.push({ page, pieces: [], zoom: 1 });
  };
  turn();
  for (const group of groups) {
    if (fits(pages.at(-1), group)) continue;
    if (pages.at(-1).pieces.length) turn();
    if (fits(pages.at(-1), group, hasFigure(group) ? 1 : SMALL)) continue;
    if (pages.length > 1) pages.pop().page.remove();
    for (const piece of group) {
      if (fits(pages.at(-1), [piece])) continue;
      if (pages.at(-1).pieces.length) turn();
      if (!fits(pages.at(-1), [piece], SMALLEST)) scrolls(pages.at(-1), piece);
    }
  }
  return gather(pages).map(finish);
}

/* Put the pieces on the slide if it has room for them, with everything on it as small as allowed. */
function fits(slide, group, smallest = 1) {
  const { page, pieces, zoom } = slide;
  page.append(...group.map((piece) => piece.element));
  const least = Math.min(smallest, zoom) - 0.01;
  for (let tried = zoom; tried >= least; tried -= 0.05) {
    page.style.setProperty("--zoom", tried);
    if (page.scrollHeight > HEIGHT) continue;
    pieces.push(...group);
    slide.zoom = tried;
    return true;
  }
  group.forEach((piece) => piece.element.remove());
  page.style.setProperty("--zoom", zoom);
  return false;
}

function scrolls({ page, pieces }, piece) {
  page.append(piece.element);
  page.classList.add("tall");
  pieces.push(piece);
}

/* A slide of a few sentences goes back to what they speak of, where that can become smaller. */
function gather(pages) {
  for (let i = pages.length - 1; i > 0; i--) {
    const { page, pieces } = pages[i];
    const loose = pieces.every(({ element, holds }) => element.matches(".text") && !holds);
    if (!loose || pages[i - 1].page.matches(".tall")) continue;
    if (fits(pages[i - 1], pieces, SMALL)) pages.splice(i, 1)[0].page.remove();
    else page.append(...pieces.map((piece) => piece.element));
  }
  return pages;
}

/* What comes later on the same slide waits for a key; on a slide of its own it does not. */
function finish({ page, pieces }) {
  const first = pieces[0]?.fragment;
  const later = [...new Set(pieces.map((piece) => piece.fragment))].filter((f) => f && f !== first);
  for (const { element, fragment } of pieces) {
    if (!later.includes(fragment)) continue;
    element.classList.add("fragment");
    element.dataset.fragmentIndex = later.indexOf(fragment);
  }
  enlarge(page);
  return page;
}

const figuresOf = (page) => [...page.querySelectorAll(".jp-OutputArea img")];
const hasFigure = (group) => group.some(({ element }) => element.querySelector("img"));

function size(image, times) {
  image.style.height = `${times * image.getAttribute("height")}px`;
}

/* Figures grow until the slide is full. */
function enlarge(page) {
  const images = figuresOf(page);
  if (!images.length) return;
  for (let times = FIGURE[1]; times >= FIGURE[0] - 0.01; times -= 0.05) {
    images.forEach((image) => size(image, times));
    if (page.scrollHeight <= HEIGHT) return;
  }
}

/* The notes of a section stand with each of its slides, which share its minutes. */
function share(stack) {
  const notes = stack.querySelectorAll("aside.notes");
  const seconds = Number(stack.dataset.timing ?? 0);
  const old = [...stack.children];
  const pages = old.flatMap((section) => paginate(section, stack));
  for (const page of pages) {
    page.dataset.timing = Math.round(seconds / pages.length);
    notes.forEach((note) => page.append(note.cloneNode(true)));
  }
}

async function start() {
  const root = document.querySelector(".reveal");
  root.classList.add("measuring");
  figuresOf(root).forEach((image) => size(image, FIGURE[0]));
  const images = [...document.images].map((image) => image.decode());
  const fonts = [...document.fonts].map((font) => font.load());
  await Promise.all([...fonts, ...images]);
  const texts = [...document.querySelectorAll(".slides .jp-RenderedMarkdown")];
  const spoken = texts.filter((text) => !text.closest("aside"));
  await new Promise((done) => MathJax.Hub.Queue(["Typeset", MathJax.Hub, spoken], done));
  document.querySelectorAll(".slides > section").forEach(share);
  root.classList.remove("measuring");
  const scroll = (by) => () => Reveal.getCurrentSlide().scrollBy(0, by);
  await Reveal.initialize({
    width: 1280,
    height: HEIGHT,
    margin: 0,
    center: false,
    controls: false,
    hash: true,
    navigationMode: "linear",
    slideNumber: "h.v",
    transition: "none",
    defaultTiming: 0,
    keyboard: { 38: scroll(-200), 40: scroll(200) }, // up and down
    plugins: [RevealNotes],
  });
}

start();
