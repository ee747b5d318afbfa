// Lets the search run in pages that a browser opened as files, where it allows no workers: a hidden frame does the same.
// The theme would load such a script from another host. It looks for the name IFrameWorker.
class IFrameWorker extends EventTarget {
  constructor(url) {
    super();
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    document.body.appendChild(this.frame);
    const inside = this.frame.contentWindow;
    inside.document.open();
    inside.document.write("<!DOCTYPE html><html><body></body></html>");
    inside.document.close();
    // The names that a worker's script calls.
    inside.postMessage = (data) => this.receive(data);
    inside.importScripts = (...urls) => urls.reduce((before, one) => before.then(() => load(inside, one)), Promise.resolve());
    this.ready = load(inside, url);
  }

  receive(data) {
    const message = new MessageEvent("message", { data });
    this.dispatchEvent(message);
    if (this.onmessage) this.onmessage(message);
  }

  postMessage(data) {
    const inside = this.frame.contentWindow;
    this.ready.then(() => inside.dispatchEvent(new inside.MessageEvent("message", { data: structuredClone(data) })));
  }

  terminate() {
    this.frame.remove();
  }
}

function load(inside, url) {
  return new Promise((loaded, failed) => {
    const script = inside.document.createElement("script");
    script.src = url;
    script.onload = loaded;
    script.onerror = failed;
    inside.document.body.appendChild(script);
  });
}

window.IFrameWorker = IFrameWorker;
if (location.protocol === "file:") window.Worker = IFrameWorker;
