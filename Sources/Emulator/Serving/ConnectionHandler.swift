import NIOCore
import NIOHTTP1
import ThawCore
import Wire

/// One connection: takes requests in, one after the other, and streams their replies out as the peer reads
/// them.
final class ConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private enum Intake {
        case none
        case store(Exchange)
        case control(method: String, path: String, body: [UInt8])
        /// A request that cannot even be taken apart.
        case broken(Reply, id: String)
    }

    private let service: StoreService
    private let isTLS: Bool
    private var intake = Intake.none
    private var isKeepAlive = true
    private var isHead = false
    private var outgoing: Outgoing?
    /// When bytes are read again that come faster than they may.
    private var restsUntil = NIODeadline.uptimeNanoseconds(0)

    init(_ service: StoreService, isTLS: Bool) {
        self.service = service
        self.isTLS = isTLS
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head): begin(head, context)
        case .body(let buffer): receive(buffer, context)
        case .end: finish(context)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        pump(context)
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        if case .store(let exchange) = intake { exchange.abandon() }
        intake = .none
        if let outgoing {
            outgoing.reader?.close()
            if let line = outgoing.line { service.log.retract(outgoing.remaining, from: line) }
        }
        outgoing = nil
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // The peer broke the connection or the protocol; there is nobody to tell.
        context.close(promise: nil)
    }

    // MARK: - Taking in

    private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        isKeepAlive = head.isKeepAlive
        isHead = head.method == .HEAD
        let path = head.uri.prefix { $0 != "?" }
        if path.hasPrefix(ControlEndpoint.prefix) {
            intake = .control(method: head.method.rawValue, path: String(path), body: [])
        } else {
            let id = service.nextRequestID()
            do throws(ProviderError) {
                let request = try StoreRequest(head, id: id, domain: service.configuration.domain)
                intake = .store(Exchange(request, service: service))
            } catch {
                let document = error.document(.s3, requestID: id, host: "", resource: String(path))
                intake = .broken(
                    Reply(
                        error.status,
                        headers: [("Content-Type", "application/xml")],
                        body: .bytes(document)
                    ),
                    id: id
                )
            }
        }
        guard head.headers.first(name: "expect")?.lowercased() == "100-continue" else { return }
        if case .store(let exchange) = intake, exchange.isRefused {
            // The body stays with the client; what it would send next cannot be told from a request.
            isKeepAlive = false
            finish(context)
        } else {
            let head = HTTPResponseHead(version: .http1_1, status: .continue)
            context.writeAndFlush(Self.wrapOutboundOut(.head(head)), promise: nil)
        }
    }

    private func receive(_ buffer: ByteBuffer, _ context: ChannelHandlerContext) {
        switch intake {
        case .store(let exchange):
            exchange.receive(buffer)
            if let rate = exchange.effects.uploadBytesPerSecond { rest(buffer.readableBytes, rate, context) }
        case .control(let method, let path, let body):
            intake = .control(method: method, path: path, body: body + Array(buffer.readableBytesView))
        case .none, .broken: break
        }
    }

    /// Reads no more until bytes that came so fast could have come at this rate.
    private func rest(_ bytes: Int, _ bytesPerSecond: Int, _ context: ChannelHandlerContext) {
        restsUntil = max(restsUntil, .now()) + Self.time(bytes, bytesPerSecond)
        setReading(false, context)
        schedule(restsUntil - .now(), context) { handler, context in
            if handler.restsUntil <= .now() { handler.setReading(true, context) }
        }
    }

    private func setReading(_ reads: Bool, _ context: ChannelHandlerContext) {
        // A channel that takes no options has nothing more to read.
        try? context.channel.syncOptions?.setOption(.autoRead, value: reads)
    }

    private func finish(_ context: ChannelHandlerContext) {
        let taken = intake
        intake = .none
        switch taken {
        case .none: return
        case .broken(let reply, let id): send(reply, id: id, exchange: nil, context)
        case .control(let method, let path, let body):
            send(
                ControlEndpoint(service: service).perform(method: method, path: path, body: body),
                id: nil,
                exchange: nil,
                context
            )
        case .store(let exchange):
            let reply = exchange.finish()
            if exchange.effects.losesReply {
                log(exchange, reply, bytesOut: 0)
                return context.close(promise: nil)
            }
            guard let latency = exchange.effects.latency else {
                return send(reply, id: exchange.request.id, exchange: exchange, context)
            }
            schedule(TimeAmount(latency), context) { handler, context in
                handler.send(reply, id: exchange.request.id, exchange: exchange, context)
            }
        }
    }

    /// Runs `body` later, unless the connection is gone by then.
    private func schedule(
        _ delay: TimeAmount,
        _ context: ChannelHandlerContext,
        _ body: @escaping (ConnectionHandler, ChannelHandlerContext) -> Void
    ) {
        context.eventLoop.assumeIsolated().scheduleTask(in: delay) {
            if context.channel.isActive { body(self, context) }
        }
    }

    // MARK: - Sending

    /// A body that may not come faster than so many bytes a second comes in so many pieces a second.
    private static let piecesPerSecond = 200
    /// How much of the time that timers or the peer were late is made up for.
    private static let lagMax = TimeAmount.milliseconds(50)

    /// A reply on its way out.
    private struct Outgoing {
        var reader: ContentReader?
        var remaining: UInt64
        /// Closes the connection when `remaining` is sent, whatever was promised.
        var closesAfter: Bool
        /// Its line in the log, which counts all of the body as sent.
        var line: Int?
        var bytesPerSecond: Int?
        /// When the next piece may go: the last of its bytes would then have come.
        var nextAt = NIODeadline.now()
        /// Waiting for a timer.
        var isPaused = false
    }

    private func send(_ reply: Reply, id: String?, exchange: Exchange?, _ context: ChannelHandlerContext) {
        let effects = exchange?.effects ?? Effects()
        var reply = reply
        if effects.malformedXML, case .bytes(let bytes) = reply.body {
            reply.body = .bytes(Array(bytes.prefix(bytes.count * 2 / 3)))
        }
        let hasBody = if case .length = reply.body { false } else { !isHead }
        var sent = hasBody ? reply.lengthBytes : 0
        var closes = !isKeepAlive
        if let cut = effects.cutBodyBytes, cut < sent { (sent, closes) = (cut, true) }
        if effects.wrongLength != nil { closes = true }
        let line = exchange.map { log($0, reply, bytesOut: sent) }
        let head = head(of: reply, id: id, exchange: exchange, announcesClose: !isKeepAlive)
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        var outgoing = Outgoing(
            reader: nil,
            remaining: sent,
            closesAfter: closes,
            line: line,
            bytesPerSecond: effects.bytesPerSecond
        )
        if let rate = effects.bytesPerSecond {
            outgoing.nextAt = outgoing.nextAt + Self.time(min(Int(clamping: sent), Self.pieceBytes(rate)), rate)
        }
        switch reply.body {
        case .none, .length: break
        case .bytes(let bytes):
            if hasBody {
                let buffer = ByteBuffer(bytes: bytes.prefix(Int(sent)))
                context.write(Self.wrapOutboundOut(.body(.byteBuffer(buffer))), promise: nil)
            }
            outgoing.remaining = 0
        case .content(let segments):
            let lease = exchange?.lease ?? service.blobs.lease()
            outgoing.reader = ContentReader(segments, blobs: service.blobs, lease: lease, sendsFiles: !isTLS)
        }
        self.outgoing = outgoing
        guard let delay = effects.slowFirstByte else { return pump(context) }
        context.flush()
        pause(TimeAmount(delay), context)
    }

    private func pause(_ delay: TimeAmount, _ context: ChannelHandlerContext) {
        outgoing?.isPaused = true
        schedule(delay, context) { handler, context in
            handler.outgoing?.isPaused = false
            handler.pump(context)
        }
    }

    /// Writes as much as the connection takes.
    private func pump(_ context: ChannelHandlerContext) {
        while let outgoing, !outgoing.isPaused {
            guard outgoing.remaining > 0, let reader = outgoing.reader else { return complete(context) }
            guard context.channel.isWritable else { return }
            var most = Int(clamping: outgoing.remaining)
            if let rate = outgoing.bytesPerSecond {
                let early = outgoing.nextAt - .now()
                guard early <= .zero else { return pause(early, context) }
                most = min(most, Self.pieceBytes(rate))
            }
            do throws(ProviderError) {
                guard let piece = try reader.next(max: most) else {
                    throw .internalError("the content ended early")
                }
                let bytes = piece.data.readableBytes
                self.outgoing?.remaining -= UInt64(bytes)
                if let rate = outgoing.bytesPerSecond {
                    self.outgoing?.nextAt = max(outgoing.nextAt, .now() - Self.lagMax) + Self.time(bytes, rate)
                }
                write(piece, context)
            } catch {
                // The status is sent already: all that is left is a body that is visibly too short.
                self.outgoing?.closesAfter = true
                self.outgoing?.remaining = 0
            }
        }
    }

    private static func pieceBytes(_ bytesPerSecond: Int) -> Int { max(1, bytesPerSecond / piecesPerSecond) }

    /// How long so many bytes take.
    private static func time(_ bytes: Int, _ bytesPerSecond: Int) -> TimeAmount {
        .nanoseconds(Int64(Double(bytes) / Double(bytesPerSecond) * 1e9))
    }

    private func write(_ piece: ContentReader.Piece, _ context: ChannelHandlerContext) {
        guard let finished = piece.finished else {
            return context.writeAndFlush(Self.wrapOutboundOut(.body(piece.data)), promise: nil)
        }
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.whenComplete { _ in ContentReader.close(finished) }
        context.writeAndFlush(Self.wrapOutboundOut(.body(piece.data)), promise: written)
    }

    private func complete(_ context: ChannelHandlerContext) {
        guard let outgoing else { return }
        self.outgoing = nil
        outgoing.reader?.close()
        guard outgoing.closesAfter else {
            return context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        }
        let channel = context.channel
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil))).whenComplete { _ in channel.close(promise: nil)
        }
    }

    private func head(of reply: Reply, id: String?, exchange: Exchange?, announcesClose: Bool)
        -> HTTPResponseHead
    {
        let now = Timestamp.now() + (exchange?.effects.clockSkew ?? .zero)
        var headers = HTTPHeaders(reply.headers.map { ($0.name, $0.value) })
        let length = Int64(reply.lengthBytes) + (exchange?.effects.wrongLength ?? 0)
        headers.replaceOrAdd(name: "Content-Length", value: String(max(0, length)))
        headers.add(name: "Date", value: WireDate.rfc1123(now))
        if let id {
            let dialect = exchange?.request.dialect ?? .s3
            let server =
                switch dialect {
                case .oss: "AliyunOSS"
                case .s3: "AmazonS3"
                case .cos: "Cleversafe"
                case .oas: "AliyunOAS"
                }
            headers.add(name: "Server", value: server)
            headers.add(name: (exchange?.request.vendorPrefix ?? "x-amz-") + "request-id", value: id)
            if dialect == .cos { headers.add(name: "X-Clv-Request-Id", value: id) }
        }
        if announcesClose { headers.add(name: "Connection", value: "close") }
        return HTTPResponseHead(
            version: .http1_1,
            status: HTTPResponseStatus(statusCode: reply.status),
            headers: headers
        )
    }

    /// Answers the line's number.
    @discardableResult
    private func log(_ exchange: Exchange, _ reply: Reply, bytesOut: UInt64) -> Int {
        let request = exchange.request
        return service.log.add(
            RequestLog.Line(
                operation: exchange.operation.rawValue,
                method: request.method,
                bucket: request.bucketName,
                key: String(decoding: request.key.bytes, as: UTF8.self),
                range: request.header("range"),
                status: reply.status,
                dialect: request.dialect.rawValue,
                bytesIn: exchange.bytesIn,
                bytesOut: bytesOut
            )
        )
    }
}
