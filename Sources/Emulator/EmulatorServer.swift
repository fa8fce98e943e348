import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// A running emulated store: the OSS and S3 dialects over one set of buckets.
///
/// A connection lives on one of a few event loops. A request is taken in by an `Exchange`, which checks it
/// and does what it asks in short transactions on the catalog; its reply goes out under the connection's
/// backpressure, file bodies by sendfile. `/_emulator/` steers the store: see `ControlEndpoint`.
package final class EmulatorServer: Sendable {
    private let group: MultiThreadedEventLoopGroup
    private let channel: any Channel
    private let service: StoreService
    /// Where it listens: `http://127.0.0.1:9000`.
    package let url: String

    private init(
        _ group: MultiThreadedEventLoopGroup, _ channel: any Channel, _ service: StoreService, url: String
    ) {
        self.group = group
        self.channel = channel
        self.service = service
        self.url = url
    }

    /// Opens the data, creates the buckets that the configuration names, and listens.
    package static func start(_ configuration: EmulatorConfiguration) async throws(EmulatorError)
        -> EmulatorServer
    {
        let service = try StoreService(configuration)
        let tls = try tlsContext(configuration)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: System.coreCount)
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 512 << 10, high: 2 << 20))
            .childChannelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 4096, initial: 65536, maximum: 1 << 20)
            )
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls))
                    }
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(
                        ConnectionHandler(service, isTLS: tls != nil)
                    )
                }
            }
        do {
            let channel = try await bootstrap.bind(host: configuration.host, port: configuration.port).get()
            let port = channel.localAddress?.port ?? configuration.port
            let host = configuration.host.contains(":") ? "[\(configuration.host)]" : configuration.host
            let scheme = tls == nil ? "http" : "https"
            return EmulatorServer(group, channel, service, url: "\(scheme)://\(host):\(port)")
        } catch {
            try? await group.shutdownGracefully()
            throw EmulatorError("cannot listen on \(configuration.host):\(configuration.port): \(error)")
        }
    }

    /// Closes every connection and stops. The archives' clock goes on from here at the next start.
    package func stop() async throws(EmulatorError) {
        do {
            try await channel.close()
            try await group.shutdownGracefully()
            try service.setClock { _, _ in }
        } catch {
            throw EmulatorError("cannot stop: \(error)")
        }
    }

    private static func tlsContext(_ configuration: EmulatorConfiguration) throws(EmulatorError)
        -> NIOSSLContext?
    {
        guard let certificate = configuration.certificateFile, let key = configuration.keyFile else {
            return nil
        }
        do {
            let chain = try NIOSSLCertificate.fromPEMFile(certificate).map {
                NIOSSLCertificateSource.certificate($0)
            }
            let secret = try NIOSSLPrivateKey(file: key, format: .pem)
            return try NIOSSLContext(
                configuration: .makeServerConfiguration(
                    certificateChain: chain,
                    privateKey: .privateKey(secret)
                )
            )
        } catch {
            throw EmulatorError("cannot use \(certificate) with \(key): \(error)")
        }
    }
}
