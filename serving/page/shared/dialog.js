// Dialogs that ask something. The browser's "back" closes one and leaves the page behind it where it is.

const open = []; // the topmost last
let returned = null; // who waits until the entry of a dialog has gone from the history

addEventListener("popstate", () => {
  if (returned) returned();
  else open.pop()?.close();
});

/** Show a <dialog> with a form; resolves with the value of the button that closed it, "" for none. */
export async function ask(dialog) {
  history.pushState(null, ""); // what "back" takes away
  open.push(dialog);
  document.body.append(dialog);
  dialog.showModal();
  await new Promise((resolve) => { dialog.addEventListener("close", resolve, { once: true }); });
  dialog.remove();
  if (open.includes(dialog)) { // not closed by "back"
    open.splice(open.indexOf(dialog), 1);
    await new Promise((resolve) => {
      returned = resolve;
      history.back();
    });
    returned = null;
  }
  return dialog.returnValue;
}
