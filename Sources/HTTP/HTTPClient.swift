// HTTP over libcurl's multi interface. Placeholder: replaced by the implementation.
package final class HTTPClient: Sendable {
    package struct Configuration: Sendable {
        /// PEM file of certificate authorities used instead of the system's; nil for the system's.
        package var caFile: String?
        package var connectTimeout: Duration = .seconds(10)
        /// Idle connections kept for reuse.
        package var connectionsMax: Int = 64
        /// A collected body larger than this fails with `.rejected`.
        package var collectedBytesMax: Int = 32 << 20
        package var userAgent: String = "thawfs/0.1"
        package init() {}
    }

    package init(configuration: Configuration = Configuration()) throws(HTTPError) {}

    /// Sends the request and waits for the whole reply. Cancelling the task aborts the transfer at once.
    package func perform(_ request: HTTPRequest, into sink: (any BodySink)? = nil) async throws(HTTPError) -> HTTPResponse {
        throw .cancelled
    }

    /// Fails everything in flight with `.cancelled` and ends the loop's thread. Idempotent.
    package func shutdown() {}
}
