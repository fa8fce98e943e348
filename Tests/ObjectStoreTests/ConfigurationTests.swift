import Testing
import Wire

@testable import ObjectStore

@Suite("where a bucket is")
struct ConfigurationTests {
    @Test("an endpoint is a host, with or without a scheme and a port")
    func endpoints() throws {
        #expect(
            try Endpoint("http://127.0.0.1:9000") == Endpoint(scheme: .http, host: "127.0.0.1", port: 9000)
        )
        #expect(try Endpoint("oss-cn-hangzhou.aliyuncs.com/").authority == "oss-cn-hangzhou.aliyuncs.com")
        #expect(try Endpoint("oss-cn-hangzhou.aliyuncs.com").scheme == .https)
        #expect(try Endpoint("HTTPS://Store.Example:443").authority == "store.example")
        #expect(try Endpoint("http://[::1]:9000").authority == "[::1]:9000")
        #expect(try Endpoint("[::1]").isNumericOrLocal)
        #expect(try Endpoint("localhost:1").isNumericOrLocal)
        #expect(try !Endpoint("1.2.3.4.example.com").isNumericOrLocal)
    }

    @Test(
        "an endpoint that is not one is refused by name",
        arguments: [
            "", "ftp://x", "http://", "host:port", "host:0", "host:70000", "host/path", "a b", "user@host",
            "h?q", "[::x]",
        ]
    )
    func badEndpoints(_ text: String) {
        #expect(throws: ConfigurationError.self) { try Endpoint(text) }
    }

    @Test("OSS takes its region from the endpoint's name, and its endpoint from the region")
    func oss() throws {
        for host in [
            "oss-cn-hangzhou.aliyuncs.com", "oss-cn-hangzhou-internal.aliyuncs.com",
            "cn-hangzhou.oss.aliyuncs.com",
        ] {
            #expect(
                try StoreConfiguration(dialect: .oss, bucket: "b-1", endpoint: host).region == "cn-hangzhou"
            )
        }
        let derived = try StoreConfiguration(dialect: .oss, bucket: "b-1", region: "oss-cn-beijing")
        #expect(derived.region == "cn-beijing")
        #expect(derived.endpoint == Endpoint(scheme: .https, host: "oss-cn-beijing.aliyuncs.com"))
        #expect(derived.addressing == .virtualHost)
    }

    @Test("what is missing is said")
    func missing() throws {
        #expect(throws: ConfigurationError.missingEndpoint) {
            try StoreConfiguration(dialect: .oss, bucket: "b")
        }
        #expect(throws: ConfigurationError.missingRegion(endpoint: "127.0.0.1:9000")) {
            try StoreConfiguration(dialect: .oss, bucket: "b", endpoint: "http://127.0.0.1:9000")
        }
        #expect(throws: ConfigurationError.missingRegion(endpoint: "oss-accelerate.aliyuncs.com")) {
            try StoreConfiguration(dialect: .oss, bucket: "b", endpoint: "oss-accelerate.aliyuncs.com")
        }
        let old = try StoreConfiguration(
            dialect: .oss,
            bucket: "b",
            endpoint: "http://127.0.0.1:9000",
            signature: .v1
        )
        #expect(old.region.isEmpty)
        #expect(throws: ConfigurationError.malformedBucket("a/b")) {
            try StoreConfiguration(dialect: .s3, bucket: "a/b")
        }
        #expect(throws: ConfigurationError.malformedBucket("..")) {
            try StoreConfiguration(dialect: .s3, bucket: "..")
        }
        #expect(throws: ConfigurationError.malformedRegion("a b")) {
            try StoreConfiguration(dialect: .s3, bucket: "b", region: "a b")
        }
    }

    @Test("S3 takes its region from the option, the endpoint, the environment, in this order")
    func s3Region() throws {
        let environment = ["AWS_REGION": "eu-west-1"]
        func region(_ endpoint: String?, _ region: String?, _ environment: [String: String]) throws -> String
        {
            try StoreConfiguration(
                dialect: .s3,
                bucket: "b",
                endpoint: endpoint,
                region: region,
                environment: environment
            ).region
        }
        #expect(try region("s3.ap-south-1.amazonaws.com", "us-west-2", environment) == "us-west-2")
        #expect(try region("s3.ap-south-1.amazonaws.com", nil, environment) == "ap-south-1")
        #expect(try region("s3.dualstack.ap-south-1.amazonaws.com", nil, [:]) == "ap-south-1")
        #expect(try region(nil, nil, environment) == "eu-west-1")
        #expect(try region("http://localhost:9000", nil, [:]) == "us-east-1")
        #expect(
            try StoreConfiguration(dialect: .s3, bucket: "b", region: "cn-north-1").endpoint.host
                == "s3.cn-north-1.amazonaws.com.cn"
        )
    }

    @Test("addresses, localhost and dotted buckets over https are addressed by path, unless told otherwise")
    func addressing() throws {
        func addressing(_ bucket: String, _ endpoint: String?, _ told: StoreConfiguration.Addressing? = nil)
            throws
            -> StoreConfiguration.Addressing
        {
            try StoreConfiguration(dialect: .s3, bucket: bucket, endpoint: endpoint, addressing: told)
                .addressing
        }
        #expect(try addressing("b", nil) == .virtualHost)
        #expect(try addressing("b", "http://10.0.0.1") == .path)
        #expect(try addressing("b", "http://localhost:9000") == .path)
        #expect(try addressing("a.b", nil) == .path)
        #expect(try addressing("a.b", "http://store.example") == .virtualHost)
        #expect(try addressing("b", nil, .path) == .path)
        #expect(try addressing("b", "http://10.0.0.1", .virtualHost) == .virtualHost)
    }
}
