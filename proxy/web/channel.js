// The WebSocket to the proxy in the shape that noVNC takes: binary messages are RFB and go to noVNC, text messages are
// the proxy's notes and go to the page.

export class Channel {
    constructor(url, onnote, onend) {
        this.binaryType = "arraybuffer";
        this.onopen = null;
        this.onmessage = null;
        this.onerror = null;
        this.onclose = null;
        this._ended = false;
        this._onend = onend;
        this._socket = new WebSocket(url);
        this._socket.binaryType = "arraybuffer";
        this._socket.onopen = (event) => this.onopen?.(event);
        this._socket.onerror = (event) => this.onerror?.(event);
        this._socket.onclose = (event) => this._end(event);
        this._socket.onmessage = (event) => {
            if (typeof event.data === "string") {
                onnote(JSON.parse(event.data));
            } else {
                this.onmessage?.(event);
            }
        };
    }

    get protocol() { return this._socket.protocol; }

    get readyState() { return this._socket.readyState; }

    send(data) { this._socket.send(data); }

    close() { this._socket.close(); }

    // For a network that is gone: the browser would wait for the closing handshake.
    abandon() {
        this._socket.close();
        this._end({ code: 1006, reason: "", wasClean: false });
    }

    _end(event) {
        if (this._ended) { return; }
        this._ended = true;
        this.onclose?.(event);
        this._onend(event);
    }
}
