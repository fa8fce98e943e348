// swift-tools-version: 6.1
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

/// One Swift module of thawfs. What it may import is the table in docs/architecture.md.
func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}

let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

let package = Package(
    name: "thawfs",
    products: [.executable(name: "thawfs", targets: ["thawfs"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
    ],
    targets: [
        .systemLibrary(name: "CThaw"),
        .systemLibrary(name: "CFuse3", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),

        module("ThawCore", ["CThaw", logging]),
        module("Wire", ["ThawCore", crypto]),
        module("Database", ["ThawCore", "CSQLite"]),
        module("Control", ["ThawCore", logging]),
        module("HTTP", ["ThawCore", "CCurl", "CThaw"]),
        module("Fuse", ["ThawCore", "CFuse3"]),
        module("ObjectStore", ["ThawCore", "Wire", "HTTP", logging]),
        module("Vaults", ["ThawCore", "Wire", "Database", "HTTP", "ObjectStore", logging]),
        module("Metadata", ["ThawCore", "Wire", "ObjectStore", "Database", logging]),
        module("Inventory", ["ThawCore", "Wire", "ObjectStore", "Metadata", "CZlib", logging]),
        module("Content", ["ThawCore", "Wire", "ObjectStore", "Database", logging]),
        module("Restore", ["ThawCore", "Wire", "ObjectStore", "Metadata", logging]),
        module("Backup", ["ThawCore", "Wire", "HTTP", "ObjectStore", "Metadata", logging]),
        module("Upload", ["ThawCore", "Wire", "ObjectStore", "Metadata", "Content", logging]),
        module("Filesystem", [
            "ThawCore", "Wire", "ObjectStore", "Metadata", "Content", "Restore", "Backup", "Upload", logging,
        ]),
        module("Mount", ["ThawCore", "Wire", "Fuse", "Filesystem", "Content", logging]),
        module("Emulator", [
            "ThawCore", "Wire", "Database", crypto,
            .product(name: "NIOCore", package: "swift-nio"),
            .product(name: "NIOPosix", package: "swift-nio"),
            .product(name: "NIOHTTP1", package: "swift-nio"),
            .product(name: "NIOSSL", package: "swift-nio-ssl"),
        ]),
        .executableTarget(
            name: "thawfs",
            dependencies: [
                "ThawCore", "Wire", "HTTP", "ObjectStore", "Vaults", "Metadata", "Inventory", "Content", "Restore", "Backup",
                "Upload",
                "Filesystem", "Mount", "Control", "Emulator", logging,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings
        ),

        .target(
            name: "ThawTesting", dependencies: ["ThawCore", "Wire", "ObjectStore"], path: "Tests/ThawTesting",
            swiftSettings: settings
        ),
        tests("ThawCoreTests", ["ThawCore", "ThawTesting"]),
        tests("WireTests", ["Wire", "ThawCore"]),
        tests("DatabaseTests", ["Database", "ThawCore"]),
        tests("ControlTests", ["Control", "ThawCore", "ThawTesting", logging]),
        tests("HTTPTests", ["HTTP", "ThawCore"]),
        tests("ObjectStoreTests", ["ObjectStore", "Wire", "HTTP", "ThawCore", "ThawTesting", logging]),
        tests("VaultsTests", [
            "Vaults", "Emulator", "ObjectStore", "HTTP", "Wire", "ThawCore", "ThawTesting", logging,
        ]),
        tests("MetadataTests", ["Metadata", "Database", "ObjectStore", "Wire", "ThawCore", "ThawTesting", logging]),
        tests("InventoryTests", [
            "Inventory", "Metadata", "Database", "ObjectStore", "Wire", "ThawCore", "ThawTesting", "CZlib", logging,
        ]),
        tests("ContentTests", ["Content", "ObjectStore", "Wire", "ThawCore", "ThawTesting", logging]),
        tests("RestoreTests", [
            "Restore", "Metadata", "Database", "ObjectStore", "Wire", "ThawCore", "ThawTesting", logging,
        ]),
        tests("BackupTests", ["Backup", "Metadata", "ObjectStore", "HTTP", "Wire", "ThawCore", "ThawTesting", logging]),
        tests("UploadTests", [
            "Upload", "Content", "Metadata", "ObjectStore", "Wire", "ThawCore", "ThawTesting", logging,
        ]),
        tests("FilesystemTests", [
            "Filesystem", "Content", "Restore", "Upload", "Metadata", "ObjectStore", "Wire", "ThawCore", "ThawTesting",
            logging,
        ]),
        tests("ThawfsTests", [
            "thawfs", "Control", "Restore", "Backup", "Vaults", "Upload", "Metadata", "ObjectStore", "HTTP", "Wire",
            "ThawCore", "ThawTesting", logging, .product(name: "ArgumentParser", package: "swift-argument-parser"),
        ]),
        tests("EmulatorTests", [
            "Emulator", "ObjectStore", "HTTP", "Wire", "ThawCore", logging,
            .product(name: "NIOCore", package: "swift-nio"),
            .product(name: "NIOHTTP1", package: "swift-nio"),
        ]),
    ]
)
