(async () => {
	const main = document.querySelector("main");
	const note = document.querySelector("#live");
	let shown = "";
	for (;;) {
		try {
			const response = await fetch("/ui/live", {cache: "no-store"});
			if (!response.ok) throw new Error(response.status);
			const text = await response.text();
			if (text !== shown && !main.contains(document.getSelection().isCollapsed ? null : document.getSelection().anchorNode)) {
				main.innerHTML = shown = text;
			}
			note.textContent = "live";
			note.className = "passing";
		} catch (error) {
			note.textContent = "the agent does not respond";
			note.className = "critical";
		}
		await new Promise(done => setTimeout(done, 1000));
	}
})();
