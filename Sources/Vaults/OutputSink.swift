internal import HTTP
internal import ObjectStore
internal import Synchronization
internal import ThawCore
internal import Wire

/// Passes on the part of a job's output that somebody wants, out of the whole mebibytes that are asked for; compares
/// the tree-etag where the store tells it.
final class OutputSink: BodySink {
    private struct State {
        /// What comes, in the output.
        var coming: Range<UInt64> = 0..<0
        var position: UInt64 = 0
        var total: UInt64 = 0
        var tree: TreeETag?
        var treeTold = ""
        var problem: String?
        var isAborted = false
    }

    private let range: Range<UInt64>
    private let sink: any ByteSink
    private let state = Mutex(State())
    let aligned: Range<UInt64>

    /// - Parameter totalBytes: of the output, nil where that is not known
    init(_ range: Range<UInt64>, totalBytes: UInt64?, _ sink: any ByteSink) {
        let block = UInt64(TreeETag.blockBytes)
        self.range = range
        self.sink = sink
        let end = (range.upperBound + block - 1) / block * block
        aligned = range.lowerBound / block * block..<min(end, totalBytes ?? end)
    }

    /// What was wrong with the reply; checked after the exchange.
    var problem: String? {
        state.withLock { state in
            if let problem = state.problem { return problem }
            guard state.position == state.coming.upperBound, let tree = state.tree, tree.value != state.treeTold else {
                return nil
            }
            return "bytes of tree-etag \(state.treeTold) were announced, and \(tree.value) came"
        }
    }
    /// The receiver wants no more.
    var isAborted: Bool { state.withLock { $0.isAborted } }
    var isComplete: Bool { state.withLock { $0.position == $0.coming.upperBound } }
    /// The whole output's size, as the reply told it.
    var total: UInt64 { state.withLock { $0.total } }

    func accept(_ head: HTTPResponseHead) -> Bool {
        guard (200...299).contains(head.status) else { return false }
        state.withLock { state in
            guard let (coming, total) = Self.coming(head), coming.lowerBound == aligned.lowerBound,
                coming.upperBound == min(aligned.upperBound, total)
            else {
                state.problem = "bytes \(aligned) were asked for, and others came (\(head["content-range"] ?? "all"))"
                return
            }
            (state.coming, state.position, state.total) = (coming, coming.lowerBound, total)
            state.treeTold = head["x-oas-tree-etag"]?.uppercased() ?? ""
            state.tree = state.treeTold.isEmpty ? nil : TreeETag()
        }
        return true
    }

    /// `bytes=0-1048575/8388608`, or with a blank as HTTP has it; nothing when all of it comes.
    private static func coming(_ head: HTTPResponseHead) -> (Range<UInt64>, total: UInt64)? {
        guard head.status == 206 else {
            return head["content-length"].flatMap { UInt64($0) }.map { (0..<$0, $0) }
        }
        guard let text = head["content-range"], text.hasPrefix("bytes") else { return nil }
        let numbers = text.dropFirst(6).split(omittingEmptySubsequences: false) { $0 == "-" || $0 == "/" }
        guard numbers.count == 3, let first = UInt64(numbers[0]), let last = UInt64(numbers[1]),
            let total = UInt64(numbers[2]), first <= last, last < total
        else { return nil }
        return (first..<last + 1, total)
    }

    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let wanted = state.withLock { state -> Range<Int>? in
            let end = state.position + UInt64(bytes.count)
            guard state.problem == nil, end <= state.coming.upperBound else {
                state.problem = state.problem ?? "the body is longer than its headers say"
                return nil
            }
            state.tree?.update(bytes)
            let wanted = range.clamped(to: state.position..<end)
            defer { state.position = end }
            return Int(wanted.lowerBound - state.position)..<Int(wanted.upperBound - state.position)
        }
        guard let wanted else { return false }
        if wanted.isEmpty || sink.receive(UnsafeRawBufferPointer(rebasing: bytes[wanted])) { return true }
        state.withLock { $0.isAborted = true }
        return false
    }
}
