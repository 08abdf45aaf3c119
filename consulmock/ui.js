(async () => {
	const main = document.querySelector("main");
	const note = document.querySelector("#live");
	let shown = "";
	for (;;) {
		try {
			const answer = await fetch("/ui/live", {cache: "no-store"});
			if (!answer.ok) throw new Error(answer.status);
			const text = await answer.text();
			if (text !== shown && !main.contains(document.getSelection().isCollapsed ? null : document.getSelection().anchorNode)) {
				main.innerHTML = shown = text;
			}
			note.textContent = "live";
			note.className = "passing";
		} catch (error) {
			note.textContent = "the agent does not answer";
			note.className = "critical";
		}
		await new Promise(done => setTimeout(done, 1000));
	}
})();
