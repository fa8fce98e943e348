internal import ThawCore

/// One exchange from its submission to its reply. Confined to the loop's thread.
final class Transfer {
    let id: UInt64
    let request: HTTPRequest
    /// Set while the transfer is in libcurl's hands.
    var easy: Easy?

    private let sink: (any BodySink)?
    private let continuation: CheckedContinuation<Result<HTTPResponse, HTTPError>, Never>
    private let collectedBytesMax: Int
    private var head = ReplyHead()
    private var isSinking = false
    private var collected: [UInt8] = []
    private var sentBytes: UInt64 = 0
    /// Why this side ended the transfer; it says more than libcurl's code for a callback that refused.
    private var refusal: HTTPError?

    init(_ submission: Inbox.Submission, collectedBytesMax: Int) {
        id = submission.id
        request = submission.request
        sink = submission.sink
        continuation = submission.continuation
        self.collectedBytesMax = collectedBytesMax
    }

    /// Takes one header line; false ends the transfer.
    func receiveHeader(_ line: UnsafeRawBufferPointer) -> Bool {
        let hadHead = head.final != nil
        do throws(HTTPError) {
            try head.take(line)
        } catch {
            refusal = error
            return false
        }
        if !hadHead, let final = head.final { begin(final) }
        return true
    }

    /// Takes the next bytes of the body; false ends the transfer.
    func receiveBody(_ bytes: UnsafeRawBufferPointer) -> Bool {
        if isSinking, let sink {
            guard sink.receive(bytes) else {
                refusal = .rejected
                return false
            }
        } else {
            guard collected.count + bytes.count <= collectedBytesMax else {
                refusal = .rejected
                return false
            }
            collected.append(contentsOf: bytes)
        }
        return true
    }

    /// Copies the next bytes of the request's body; 0 at its end. Nil ends the transfer: a body is whole or not sent.
    func readBody(into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        let count = Int(min(UInt64(buffer.count), request.body.sizeBytes - sentBytes))
        let piece = UnsafeMutableRawBufferPointer(rebasing: buffer.prefix(count))
        switch request.body {
        case .bytes(let body):
            body.withUnsafeBytes { body in
                let start = Int(sentBytes)
                piece.copyMemory(from: UnsafeRawBufferPointer(rebasing: body[start..<start + count]))
            }
        case .file(let file, let range):
            let offset = range.lowerBound + sentBytes
            switch file.read(into: piece, at: offset) {
            case .success(count): break
            case .success(let got):
                refusal = .unreadable("the file ends at byte \(offset + UInt64(got)) of \(range)")
                return nil
            case .failure(let error):
                refusal = .unreadable("\(error), at byte \(offset)")
                return nil
            }
        }
        sentBytes += UInt64(count)
        return count
    }

    /// Goes back in the request's body, for a connection that was found dead before the request got through.
    func seekBody(to offset: UInt64) -> Bool {
        guard offset <= request.body.sizeBytes else { return false }
        sentBytes = offset
        return true
    }

    /// Ends the wait; `failure` is libcurl's, nil when it took the exchange for complete. Call it once.
    func finish(_ failure: HTTPError?) {
        if let error = refusal ?? failure {
            continuation.resume(returning: .failure(error))
        } else if let head = head.final {
            continuation.resume(returning: .success(HTTPResponse(head: head, body: collected)))
        } else {
            continuation.resume(returning: .failure(.broken("no reply")))
        }
    }

    private func begin(_ head: HTTPResponseHead) {
        isSinking = sink?.accept(head) ?? false
        if !isSinking, request.method != .head, let length = head["content-length"].flatMap({ Int($0) }) {
            collected.reserveCapacity(max(0, min(length, collectedBytesMax)))
        }
    }
}
