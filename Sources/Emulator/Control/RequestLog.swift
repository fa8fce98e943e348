import Synchronization
import ThawCore

/// Counts requests and remembers the latest of them, for tests that ask what was sent.
final class RequestLog: Sendable {
    struct Line: Sendable {
        var operation: String
        var method: String
        var bucket: String?
        var key: String
        var range: String?
        var status: Int
        var dialect: String
        var bytesIn: UInt64
        var bytesOut: UInt64
    }

    private struct State {
        var counts: [String: Int] = [:]
        var bytesIn: UInt64 = 0
        var bytesOut: UInt64 = 0
        /// A ring: the line of number `n` is at `(n - first) % linesMax`.
        var lines: [Line] = []
        /// The number of the first line since the log was cleared, and of the next one.
        var first = 0
        var next = 0
    }

    private static let linesMax = 10_000
    private let state = Mutex(State())

    /// Answers the line's number.
    func add(_ line: Line) -> Int {
        state.withLock { state in
            state.counts[line.operation, default: 0] += 1
            state.bytesIn += line.bytesIn
            state.bytesOut += line.bytesOut
            if state.lines.count < Self.linesMax {
                state.lines.append(line)
            } else {
                state.lines[(state.next - state.first) % Self.linesMax] = line
            }
            state.next += 1
            return state.next - 1
        }
    }

    /// Takes back what a line counts as sent, and was not. Lines from before the log was cleared count nothing.
    func retract(_ bytesOut: UInt64, from number: Int) {
        state.withLock { state in
            guard number >= state.first else { return }
            state.bytesOut -= bytesOut
            guard state.next - number <= Self.linesMax else { return }
            state.lines[(number - state.first) % Self.linesMax].bytesOut -= bytesOut
        }
    }

    func clear() { state.withLock { $0 = State(first: $0.next, next: $0.next) } }

    var json: JSON {
        let state = state.withLock { $0 }
        let isFull = state.lines.count == Self.linesMax
        let oldest = isFull ? (state.next - state.first) % Self.linesMax : 0
        let lines = state.lines[oldest...] + state.lines[..<oldest]
        return [
            "counts": .object(state.counts.mapValues { JSON($0) }),
            "bytes_in": JSON(state.bytesIn), "bytes_out": JSON(state.bytesOut),
            "requests": .array(lines.map(\.json)),
        ]
    }
}

extension RequestLog.Line {
    fileprivate var json: JSON {
        [
            "op": .string(operation), "method": .string(method), "bucket": JSON(bucket), "key": .string(key),
            "range": JSON(range), "status": JSON(status), "dialect": .string(dialect),
            "bytes_in": JSON(bytesIn), "bytes_out": JSON(bytesOut),
        ]
    }
}
