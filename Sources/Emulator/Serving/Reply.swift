import NIOCore
import ThawCore
import Wire

/// What the emulator answers.
struct Reply {
    var status: Int
    var headers: [(name: String, value: String)]
    var body: Body

    enum Body {
        case none
        case bytes([UInt8])
        /// Nothing is sent, but the length is that of what a GET would send.
        case length(UInt64)
        case content([Segment])
    }

    init(_ status: Int, headers: [(name: String, value: String)] = [], body: Body = .none) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    static func xml(_ writer: XMLWriter, headers: [(name: String, value: String)] = []) -> Reply {
        Reply(200, headers: headers + [("Content-Type", "application/xml")], body: .bytes(writer.bytes))
    }

    static func json(_ value: JSON, status: Int = 200, headers: [(name: String, value: String)] = []) -> Reply {
        Reply(
            status,
            headers: headers + [("Content-Type", "application/json")],
            body: .bytes(Array((value.text + "\n").utf8))
        )
    }

    var lengthBytes: UInt64 {
        switch body {
        case .none: 0
        case .bytes(let bytes): UInt64(bytes.count)
        case .length(let length): length
        case .content(let segments): segments.reduce(0) { $0 + $1.length }
        }
    }
}
