package import HTTP
import Synchronization
import ThawCore

/// What has gone through a transport since it was made.
package struct Traffic: Equatable, Sendable {
    package var requests = 0
    /// Of these, those without a whole reply, and those that the store refused or was too busy for: 403, 429, 5xx.
    package var failed = 0
    /// Of bodies, also of those that did not come to their end.
    package var receivedBytes: UInt64 = 0
    /// Of bodies of requests that were answered.
    package var sentBytes: UInt64 = 0

    package init() {}
}

/// Counts what goes through another transport.
package final class MeteredTransport: Transport {
    private let transport: any Transport
    private let requests = Atomic<Int>(0)
    private let failed = Atomic<Int>(0)
    private let received = Atomic<UInt64>(0)
    private let sent = Atomic<UInt64>(0)

    package init(_ transport: any Transport) { self.transport = transport }

    package var traffic: Traffic {
        var traffic = Traffic()
        traffic.requests = requests.load(ordering: .relaxed)
        traffic.failed = failed.load(ordering: .relaxed)
        traffic.receivedBytes = received.load(ordering: .relaxed)
        traffic.sentBytes = sent.load(ordering: .relaxed)
        return traffic
    }

    package func perform(
        _ request: HTTPRequest, into sink: (any BodySink)?
    ) async throws(HTTPError) -> HTTPResponse {
        requests.add(1, ordering: .relaxed)
        do throws(HTTPError) {
            let response = try await transport.perform(request, into: sink.map { Sink($0, self) })
            received.add(UInt64(response.body.count), ordering: .relaxed)
            sent.add(request.body.sizeBytes, ordering: .relaxed)
            if [403, 429].contains(response.status) || response.status >= 500 { failed.add(1, ordering: .relaxed) }
            return response
        } catch {
            if error != .cancelled { failed.add(1, ordering: .relaxed) }
            throw error
        }
    }

    private final class Sink: BodySink {
        private let sink: any BodySink
        private let meter: MeteredTransport

        init(_ sink: any BodySink, _ meter: MeteredTransport) {
            self.sink = sink
            self.meter = meter
        }

        func accept(_ head: HTTPResponseHead) -> Bool { sink.accept(head) }

        func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
            meter.received.add(UInt64(bytes.count), ordering: .relaxed)
            return sink.receive(bytes)
        }
    }
}
