package import ThawCore

/// One request as it goes on the wire; nothing is added to it but what HTTP itself needs
/// (`Host`, `Content-Length`, `Accept: */*` and the `User-Agent`).
package struct HTTPRequest: Sendable {
    package enum Method: String, Sendable {
        case get = "GET", head = "HEAD", put = "PUT", post = "POST", delete = "DELETE"
    }

    package var method: Method
    /// Absolute and already percent-encoded; sent byte for byte (`CURLOPT_PATH_AS_IS`), so that it matches what was
    /// signed.
    package var url: String
    /// Names and values without CR or LF. A `Content-Type` is sent only if it is here.
    package var headers: [(name: String, value: String)]
    /// A file is read as its bytes are sent; one that is shorter, or cannot be read, fails the request with
    /// `.unreadable`.
    package var body: Payload
    /// Ceiling on the whole exchange; nil for transfers of object data, which are bounded by `stallMax` alone.
    package var timeout: Duration?
    /// How long less than 1 KiB/s may go either way, also while the peer works on its reply.
    package var stallMax: Duration
    /// Over a connection of its own: on one that was kept alive libcurl may send a request twice without telling.
    package var isSentOnce: Bool

    package init(
        method: Method,
        url: String,
        headers: [(name: String, value: String)] = [],
        body: Payload = .bytes([]),
        timeout: Duration? = .seconds(60),
        stallMax: Duration = .seconds(20),
        isSentOnce: Bool = false
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.timeout = timeout
        self.stallMax = stallMax
        self.isSentOnce = isSentOnce
    }
}

/// Status line and headers of a reply.
package struct HTTPResponseHead: Sendable {
    package var status: Int
    /// Names lowercase, values trimmed, in wire order.
    package var headers: [(name: String, value: String)]

    package init(status: Int, headers: [(name: String, value: String)]) {
        self.status = status
        self.headers = headers
    }

    /// The first header of this name; `name` must be lowercase.
    package subscript(name: String) -> String? {
        for header in headers where header.name == name { return header.value }
        return nil
    }
}

package struct HTTPResponse: Sendable {
    package var head: HTTPResponseHead
    /// The body, unless a sink took it.
    package var body: [UInt8]

    package init(head: HTTPResponseHead, body: [UInt8]) {
        self.head = head
        self.body = body
    }

    package var status: Int { head.status }
}

/// Takes a reply's body as it arrives. Called on the network loop's thread, one call at a time: it must not block,
/// and must not call back into the client. The buffer is valid during the call only.
package protocol BodySink: AnyObject, Sendable {
    /// Whether this body goes to the sink. When it answers false (an error document) the body is collected instead.
    func accept(_ head: HTTPResponseHead) -> Bool
    /// Takes the next bytes; answering false aborts the transfer, which then fails with `.rejected`.
    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool
}

/// Why there is no complete reply. A reply with any status is not an error here.
package enum HTTPError: Error, Equatable, Sendable {
    /// No connection: name resolution, refused, unreachable, or the connect timeout. Carries libcurl's words.
    case connect(String)
    /// The peer's certificate or the handshake failed. Carries libcurl's words. Never worth a retry.
    case tls(String)
    /// The transfer stalled (see `HTTPRequest.stallMax`) or ran over the request's timeout.
    case timeout(String)
    /// The connection broke or the reply was not HTTP; what had arrived is incomplete (a short body included).
    case broken(String)
    /// The sink refused the data, or a collected body passed `HTTPClient.Configuration.collectedBytesMax`.
    case rejected
    /// The request's body cannot be read from its file, or the file is shorter. Nothing else was wrong.
    case unreadable(String)
    /// The task that waited was cancelled, or the client was shut down.
    case cancelled
    /// The request itself cannot be sent: not a URL, a header with a line break.
    case malformedRequest(String)
}
