// The page: what is shown, and what happens on a click.

import { currentUser, freshToken, SessionEnded, signIn, signOut, signUp } from "./account.js";
import { Tasks } from "./tasks.js";

const element = (id) => document.getElementById(id);
const values = (form) => Object.fromEntries(new FormData(form));
const rowId = (id) => `task-${id}`;

/** The tasks of whoever is signed in. */
let tasks;

/** What becomes of the text in the editor. */
let saveEdit;

function showEntry() {
  element("editor").close();
  element("home").hidden = true;
  element("entry").hidden = false;
}

/** Leaves nothing of this person for the next one. A session that only ran out keeps its draft, to go on with. */
function forget() {
  tasks = undefined;
  element("who").textContent = "";
  element("list").replaceChildren();
  element("create").reset();
  element("edit").reset();
}

async function showHome(user) {
  const { apiOrigin } = await (await fetch("/config.json")).json();
  tasks = new Tasks(apiOrigin, user.id, freshToken);
  element("who").textContent = `${user.name} · ${user.email}`;
  element("list").replaceChildren();
  element("entry").hidden = true;
  element("home").hidden = false;
  await showPage();
}

async function showPage(page) {
  const { tasks: some, next } = await tasks.list(page);
  // A task that was added since stands in the list already.
  const unseen = some.filter(({ id }) => !element(rowId(id)));
  element("list").append(...unseen.map(row));
  element("more").hidden = !next;
  element("more").onclick = () => attempt(() => showPage(next));
  showProgress();
}

function showProgress() {
  const all = element("list").childElementCount;
  const done = element("list").querySelectorAll(":checked").length;
  element("empty").hidden = all > 0;
  const whole = element("more").hidden ? all : `the first ${all}`;
  element("progress").textContent = all > 0 ? `${done} of ${whole} done` : "";
}

/** The list's row for a task; it follows every change of that task. */
function row(task) {
  const item = element("task").content.firstElementChild.cloneNode(true);
  item.id = rowId(task.id);
  const part = (name) => item.querySelector(name);
  const show = (fresh) => {
    task = fresh;
    part("input").checked = task.completed;
    part("input").ariaLabel = `Done: ${task.title}`;
    part(".title").textContent = task.title;
    part(".description").textContent = task.description ?? "";
    showProgress();
  };
  part("input").onchange = () =>
    attempt(async () => show(await tasks.complete(task.id, part("input").checked)), () => show(task));
  part(".edit").onclick = () => edit(task, async (text) => show(await tasks.replace(task.id, text)));
  part(".delete").onclick = () =>
    attempt(async () => {
      await tasks.delete(task.id);
      item.remove();
      showProgress();
    });
  show(task);
  return item;
}

function edit(task, save) {
  const { title, description } = element("edit").elements;
  title.value = task.title;
  description.value = task.description ?? "";
  saveEdit = save;
  element("editor").showModal();
}

function taskText(form) {
  const { title, description } = values(form);
  return { title, description: description.trim() || null };
}

/** Does it, and tells people when it is refused. */
async function attempt(action, undo = () => {}) {
  element("alert").togglePopover(false);
  try {
    await action();
  } catch (fault) {
    undo();
    if (fault instanceof SessionEnded) showEntry();
    tell(fault);
  }
}

function tell(fault) {
  const unreachable = "The server cannot be reached. Try again in a moment.";
  const words = fault instanceof TypeError ? unreachable : fault.message;
  // Where fields are named, the sentence above them only says how many there are.
  const particulars = (fault.errors ?? []).map(({ field, message }) => `${field}: ${message}`);
  element("alert").textContent = particulars.join("\n") || words;
  element("alert").togglePopover(true);
}

function onSubmit(id, action) {
  const form = element(id);
  form.onsubmit = async (event) => {
    event.preventDefault();
    const button = form.querySelector(".primary");
    button.disabled = true;
    await attempt(() => action(form));
    button.disabled = false;
  };
}

onSubmit("sign-in", async (form) => {
  const { user } = await signIn(values(form));
  form.reset();
  await showHome(user);
});

onSubmit("sign-up", async (form) => {
  const { user } = await signUp(values(form));
  form.reset();
  await showHome(user);
});

onSubmit("create", async (form) => {
  element("list").append(row(await tasks.create(taskText(form))));
  showProgress();
  form.reset();
  form.elements.title.focus();
});

onSubmit("edit", async (form) => {
  await saveEdit(taskText(form));
  element("editor").close();
});

element("sign-out").onclick = () =>
  attempt(async () => {
    await signOut();
    forget();
    showEntry();
  });

for (const choice of document.querySelectorAll("[data-shows]")) {
  choice.onclick = () => {
    for (const other of document.querySelectorAll("[data-shows]")) {
      other.ariaPressed = String(other === choice);
      element(other.dataset.shows).hidden = other !== choice;
    }
    element("alert").togglePopover(false);
  };
}

element("cancel").onclick = () => element("editor").close();

attempt(async () => {
  const user = await currentUser();
  if (user) await showHome(user);
  else showEntry();
});
