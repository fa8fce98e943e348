import ArgumentParser
import Emulator
import Glibc
import Wire

/// `thawfs emulate`: runs the embedded object store until it is told to stop.
struct EmulateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "emulate",
        abstract: "Run an object store of our own: OSS, S3 and OAS, with objects that freeze and thaw.",
        discussion: """
            Prints one line, `listening on URL`, when it is ready, and stops on SIGINT or SIGTERM. Without \
            --data everything is kept in memory. The clock by which objects thaw can be moved: \
            curl -d '{"advance": "12h"}' URL/_emulator/clock
            """
    )

    @Option(help: "Where to listen; port 0 takes a free one.")
    var listen = "127.0.0.1:9000"

    @Option(help: "Keep the objects in this directory.")
    var data: String?

    @Option(help: "Serve https with this certificate chain (PEM).")
    var tlsCert: String?

    @Option(help: "The certificate's private key (PEM).")
    var tlsKey: String?

    @Option(help: "The host name whose subdomains are buckets.")
    var domain = "localhost"

    @Option(help: "An access key; may be repeated. [default: thawfs]")
    var accessKey: [String] = []

    @Option(help: "The secret of the access key of the same position. [default: thawfs-secret]")
    var secretKey: [String] = []

    @Option(help: "The session token that is taken from temporary credentials.")
    var sessionToken: String?

    @Option(help: "Refuse signatures for any other region.")
    var region: String?

    @Option(help: "How many seconds pass for archives in a real one.")
    var timeScale = 1.0

    @Flag(help: "Verify no signatures.")
    var lenient = false

    @Option(help: "Create this bucket; may be repeated.")
    var bucket: [String] = []

    func validate() throws {
        guard accessKey.count == secretKey.count else {
            throw ValidationError("--access-key and --secret-key must come in pairs")
        }
        guard (tlsCert == nil) == (tlsKey == nil) else {
            throw ValidationError("--tls-cert and --tls-key must come together")
        }
        guard timeScale >= 0 else { throw ValidationError("--time-scale must not be negative") }
        guard Self.address(listen) != nil else { throw ValidationError("--listen wants HOST:PORT") }
    }

    func run() async throws {
        let stop = StopSignals()
        let server = try await EmulatorServer.start(configuration())
        let line = "listening on \(server.url)\n"
        guard
            line.utf8.withContiguousStorageIfAvailable({ write(STDOUT_FILENO, $0.baseAddress, $0.count) })
                ?? -1 > 0
        else { throw EmulatorError("cannot write to the standard output") }
        await stop.wait()
        try await server.stop()
    }

    private func configuration() -> EmulatorConfiguration {
        var configuration = EmulatorConfiguration()
        if let (host, port) = Self.address(listen) { (configuration.host, configuration.port) = (host, port) }
        configuration.dataDirectory = data
        configuration.certificateFile = tlsCert
        configuration.keyFile = tlsKey
        configuration.domain = domain
        if !accessKey.isEmpty {
            configuration.credentials = zip(accessKey, secretKey).map {
                Credentials(accessKeyID: $0, secretAccessKey: $1)
            }
        }
        configuration.sessionToken = sessionToken
        configuration.region = region
        configuration.timeScale = timeScale
        configuration.isLenient = lenient
        configuration.buckets = bucket
        return configuration
    }

    private static func address(_ text: String) -> (host: String, port: Int)? {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            (0...65535).contains(port)
        else { return nil }
        let host = text[..<colon].filter { $0 != "[" && $0 != "]" }
        return host.isEmpty ? nil : (host, port)
    }
}
