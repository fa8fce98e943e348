package import HTTP

/// What a store sends its requests through; tests put scripted replies in its place.
package protocol Transport: Sendable {
    /// Sends the request and waits for the whole reply. Cancelling the task aborts the transfer at once.
    func perform(_ request: HTTPRequest, into sink: (any BodySink)?) async throws(HTTPError) -> HTTPResponse
}

extension HTTPClient: Transport {}
