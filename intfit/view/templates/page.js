"use strict";
// The page: an article for each file.

const KINDS = {image: Picture, audio: Recording, mesh: Surface};
/** What there is, by item: for scripts, and for the tests of this page. */
const shown = [];

function addItem(item, id) {
  const main = document.getElementById("items");
  main.append(copyOf("item"));
  const article = main.lastElementChild;
  article.id = `item-${id}`;
  article.querySelector("h2").textContent = item.name;
  for (const [term, text] of item.caption) {
    const name = document.createElement("dt");
    const value = document.createElement("dd");
    name.textContent = term;
    value.textContent = text;
    article.querySelector(".caption").append(name, value);
  }
  for (const note of item.notes) {
    const line = document.createElement("li");
    line.textContent = note;
    article.querySelector(".notes").append(line);
  }
  const made = new KINDS[item.kind]({...item, id}, article.querySelector(".show"));
  shown.push(made);
  made.ready.catch((error) => warn(article, error));
}

/** Say in an article what went wrong with drawing it. */
function warn(article, error) {
  const line = document.createElement("p");
  line.className = "warning";
  line.textContent = `This browser cannot draw it: ${error.message}`;
  article.querySelector(".show").append(line);
  console.error(error);
}

function listContents(items) {
  const list = document.getElementById("contents");
  list.hidden = items.length < 2;
  items.forEach((item, id) => {
    const link = document.createElement("a");
    link.href = `#item-${id}`;
    link.textContent = item.name;
    list.append(link);
  });
}

const items = JSON.parse(document.getElementById("data").textContent);
document.getElementById("items").classList.toggle("gallery", items.length > 2);
listContents(items);
items.forEach(addItem);
