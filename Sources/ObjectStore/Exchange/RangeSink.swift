import HTTP
import Synchronization

/// Passes the body of a ranged read on, once its headers have been found to be about the range that was asked
/// for.
final class RangeSink: BodySink {
    private struct State {
        var expectedBytes: UInt64 = 0
        var receivedBytes: UInt64 = 0
        var problem: String?
        var isAborted = false
    }

    private let range: Range<UInt64>
    private let sink: any ByteSink
    private let state = Mutex(State())

    init(_ range: Range<UInt64>, _ sink: any ByteSink) {
        self.range = range
        self.sink = sink
    }

    /// What was wrong with the reply; checked after the exchange.
    var problem: String? { state.withLock { $0.problem } }
    /// The receiver wants no more.
    var isAborted: Bool { state.withLock { $0.isAborted } }
    /// Whether all bytes that the headers announced have come.
    var isComplete: Bool { state.withLock { $0.receivedBytes == $0.expectedBytes } }

    func accept(_ head: HTTPResponseHead) -> Bool {
        // Error documents are collected; any other reply comes here, to be aborted when it is not the range.
        guard (200...299).contains(head.status) else { return false }
        state.withLock { state in
            switch check(head) {
            case .success(let count): state = State(expectedBytes: count)
            case .failure(let problem): state.problem = problem.text
            }
        }
        return true
    }

    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let isWanted = state.withLock { state in
            guard state.problem == nil else { return false }
            guard UInt64(bytes.count) <= state.expectedBytes - state.receivedBytes else {
                state.problem = "the body is longer than its headers say"
                return false
            }
            state.receivedBytes += UInt64(bytes.count)
            return true
        }
        guard isWanted else { return false }
        guard sink.receive(bytes) else {
            state.withLock { $0.isAborted = true }
            return false
        }
        return true
    }

    private struct Problem: Error { let text: String }

    /// How many bytes are to come.
    private func check(_ head: HTTPResponseHead) -> Result<UInt64, Problem> {
        guard head.status == 206 else {
            return .failure(Problem(text: "status \(head.status) for a read of a range"))
        }
        guard let content = head["content-range"].flatMap(ContentRange.init) else {
            return .failure(Problem(text: "a partial reply without a Content-Range that can be read"))
        }
        guard content.range.lowerBound == range.lowerBound,
            content.range.upperBound == min(range.upperBound, content.sizeBytes)
        else {
            return .failure(
                Problem(
                    text: "bytes \(range) were asked for and \(content.range) of \(content.sizeBytes) came"
                )
            )
        }
        let count = UInt64(content.range.count)
        if let length = head["content-length"], UInt64(length) != count {
            return .failure(Problem(text: "Content-Length \(length) for \(count) bytes"))
        }
        return .success(count)
    }
}
