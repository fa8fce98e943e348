// HTTP/1.1 over libcurl's multi interface.
//
// One thread, `net-0`, runs a `Loop`: epoll and curl_multi_socket_action. Tasks talk to it through an `Inbox` and wait
// on a continuation. A `Transfer` is one exchange; an `Easy` handle serves one transfer after another. Nothing here
// retries, with one exception that libcurl does not let us turn off: a request that found its kept-alive connection
// closed, before a byte of reply, is sent again on a new one.
//
// Proxies: https_proxy, http_proxy, all_proxy and no_proxy of the environment hold, except for this machine itself
// (localhost, 127.0.0.0/8, ::1). No other module may import CCurl.

internal import Synchronization
internal import ThawCore

/// Sends requests and waits for their replies. Any number of tasks may use one client at once.
///
/// Requests beyond `connectionsMax` wait for their turn, first come first served. Cost: one pass through the loop's
/// thread for each request.
package final class HTTPClient: Sendable {
    package struct Configuration: Sendable {
        /// PEM file of certificate authorities used instead of the system's; nil for the system's.
        package var caFile: String?
        package var connectTimeout: Duration = .seconds(10)
        /// Connections open at once, and idle ones kept for reuse. At least 1.
        package var connectionsMax: Int = 64
        /// A collected body larger than this fails with `.rejected`.
        package var collectedBytesMax: Int = 32 << 20
        package var userAgent: String = "thawfs/0.1"
        package init() {}
    }

    private let inbox: Inbox
    private let lastID = Atomic<UInt64>(0)
    /// Nil once joined.
    private let thread: Mutex<Thread?>

    /// Starts the loop. Fails with `.connect` when descriptors or threads have run out.
    package init(configuration: Configuration = Configuration()) throws(HTTPError) {
        precondition(configuration.connectionsMax > 0)
        inbox = try Inbox()
        let loop = try Loop(inbox: inbox, configuration: configuration)
        do throws(Thread.Failure) {
            thread = Mutex(try Thread(name: "net-0") { loop.run() })
        } catch {
            throw .connect("no thread for the network: \(errorText(error.errno))")
        }
    }

    deinit { shutdown() }

    /// Sends the request and waits for the whole reply, of any status. Cancelling the task aborts the transfer at
    /// once.
    package func perform(
        _ request: HTTPRequest,
        into sink: (any BodySink)? = nil
    ) async throws(HTTPError) -> HTTPResponse {
        try request.validate()
        let id = lastID.add(1, ordering: .relaxed).newValue
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<_, Never>) in
                let submission = Inbox.Submission(
                    id: id,
                    request: request,
                    sink: sink,
                    continuation: continuation
                )
                guard inbox.post(.start(submission)) else {
                    continuation.resume(returning: .failure(.cancelled))
                    return
                }
                // The handler below may have run before there was anything to cancel.
                if Task.isCancelled { _ = inbox.post(.cancel(id)) }
            }
        } onCancel: {
            _ = inbox.post(.cancel(id))
        }
        return try result.get()
    }

    /// Fails everything in flight with `.cancelled` and ends the loop's thread. Idempotent; not from a `BodySink`.
    package func shutdown() {
        inbox.stop()
        thread.withLock { thread in
            thread?.join()
            thread = nil
        }
    }
}
