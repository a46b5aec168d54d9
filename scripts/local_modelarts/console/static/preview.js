// Shows a picture as soon as it is chosen. Everything else works without a script.
"use strict";
for (const input of document.querySelectorAll("input[data-preview]")) {
  const preview = document.getElementById(input.dataset.preview);
  const show = () => {
    URL.revokeObjectURL(preview.src);
    const file = input.files[0];
    preview.hidden = true;
    preview.onload = () => { preview.hidden = false; };
    if (file) preview.src = URL.createObjectURL(file);
    else preview.removeAttribute("src");
  };
  input.addEventListener("change", show);
  show();
}
