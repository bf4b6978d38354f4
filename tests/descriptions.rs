//! What examples and benches read problems from: benchdnn's descriptors and lists of layers.

#[path = "../examples/common/descriptor.rs"]
mod descriptor;
#[allow(dead_code, unreachable_pub)]
#[path = "../examples/common/layer.rs"]
mod layer;

use convgemm::Geometry;

fn geometry<const D: usize>(text: &str) -> Geometry<D> {
    let layer = descriptor::parse(text).unwrap();
    assert_eq!(layer.rank(), D, "{text}");
    layer.params().geometry(layer.n, layer.extent()).unwrap()
}

fn error(text: &str) -> String {
    format!("{:#}", descriptor::parse(text).unwrap_err())
}

#[test]
fn a_square_descriptor_has_both_axes() {
    let g = geometry::<2>("ic3ih224oc64oh112kh7sh2ph3n\"resnet_50:conv1\"");
    assert_eq!((g.batch(), g.input_extent(), g.output_extent()), (2, [224, 224], [112, 112]));
    let params = g.params();
    assert_eq!((params.in_channels, params.out_channels, params.groups), (3, 64, 1));
    assert_eq!((params.kernel, params.stride, params.dilation), ([7, 7], [2, 2], [1, 1]));
    assert_eq!(g.pad_begin(), [3, 3]);
    assert_eq!(descriptor::parse("ic3ih9oc4kh3n\"a b\"").unwrap().name, "a b");
}

#[test]
fn what_is_left_out_is_as_documented() {
    // No output: padded on both sides; no padding: none.
    assert_eq!(geometry::<2>("ic64ih56oc64kh3ph1").output_extent(), [56, 56]);
    assert_eq!(geometry::<2>("ic64ih56oc64kh3").output_extent(), [54, 54]);
    // No padding, but an output: what fits, evenly.
    assert_eq!(geometry::<2>("ic64ih56oc64oh56kh3").pad_begin(), [1, 1]);
    // Every field, with underscores.
    let g = geometry::<3>("g2mb5_ic4id8ih9iw10_oc6od4oh9ow4_kd3kh3kw5_sd2sh1sw2_pd1ph1pw0_dd0dh0dw0n\"all\"");
    assert_eq!((g.batch(), g.output_extent()), (5, [4, 9, 4]));
    assert_eq!((g.params().groups, g.params().stride), (2, [2, 1, 2]));
    // A dilation of 1 is a gap of one.
    assert_eq!(geometry::<1>("ic1iw10oc1kw3dw1").params().dilation, [2]);
    assert_eq!(geometry::<1>("ic1iw10oc1kw3dw1").output_extent(), [6]);
    // One axis only where that is the last.
    assert_eq!(geometry::<1>("mb1ic8iw50oc8kw5").batch(), 1);
    assert_eq!(geometry::<3>("ic8id7oc8kd3pd1").output_extent(), [7, 7, 7]);
    assert_eq!(geometry::<2>("ic8ih1iw7oc8kh1kw3").output_extent(), [1, 5]);
}

#[test]
fn the_end_is_padded_or_cropped_to_the_output() {
    // Windows at −1 and 1, up to 3 of 0 … 6: what is behind is not read.
    assert_eq!(geometry::<1>("ic1iw7oc1ow2kw3sw2pw1").output_extent(), [2]);
    // One more than symmetric padding gives.
    assert_eq!(geometry::<1>("ic1iw7oc1ow7kw4pw1").output_extent(), [7]);
    // Given as such only where as much on both sides gives another output.
    let end = |text| descriptor::parse(text).unwrap().padding_end;
    assert_eq!(end("ic1iw8oc1ow4kw3sw2pw1"), None);
    assert_eq!(end("ic1iw7oc1ow2kw3sw2pw1"), Some(vec![-3]));
    assert_eq!(end("ic1iw7oc1ow7kw4pw1"), Some(vec![2]));
}

#[test]
fn a_wrong_descriptor_says_what_is_wrong() {
    assert!(error("ic3ih8oc4kh3zz3").contains("'zz3'"));
    assert!(error("ic3ih8oc4kh").contains("kh needs a number"));
    assert!(error("ic3ih8oc4kh99999999999999999999").contains("kh needs a number"));
    assert!(error("ih8oc4kh3").contains("ic has to be given"));
    assert!(error("ic3oc4").contains("no axis"));
    assert!(error("ic3ih8oc4").contains("kh has to be given"));
    assert!(error("ic3ih8oc4kh3sh0").contains("sh has to be given and over 0"));
    assert!(error("ic3ih2oc4kh3").contains("larger than the padded image"));
    assert!(error("g0ic3ih8oc4kh3").contains("g has to be"));
}

#[test]
fn the_lists_of_layers_are_valid() {
    let more = layer::parse(include_str!("../benches/layers_more.json")).unwrap();
    let layers = layer::read(None).unwrap();
    assert_eq!(layers.len(), 36);
    let mut names: Vec<_> = layers.iter().chain(&more).map(|layer| &layer.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 36 + more.len(), "names are unique");
    for layer in layers.iter().chain(&more) {
        assert!(layer.macs() > 0 && layer.n > 0, "{layer:?}");
    }
    for class in ["dense", "pointwise", "first", "depthwise", "grouped", "thin", "tiny", "3-D"] {
        assert!(layers.iter().chain(&more).any(|layer| layer.class() == class), "{class}");
    }
    let c3d = more.iter().find(|layer| layer.name == "c3d.conv2").unwrap();
    assert_eq!((c3d.rank(), c3d.extent::<3>(), c3d.macs()), (3, [16, 56, 56], 128 * 64 * 27 * 16 * 56 * 56));
}

#[test]
fn a_wrong_layer_says_what_is_wrong() {
    let layer = |edit: &dyn Fn(&mut serde_json::Value)| {
        let mut layer = serde_json::json!({
            "name": "L", "n": 1, "c_in": 2, "h": 8, "w": 9, "c_out": 3, "kernel": [3, 3], "stride": [1, 1],
            "padding": [1, 1], "dilation": [1, 1], "groups": 1
        });
        edit(&mut layer);
        layer::parse(&format!("[{layer}]")).map_err(|error| format!("{error:#}"))
    };
    assert_eq!(layer(&|_| ()).unwrap()[0].params::<2>().kernel, [3, 3]);
    let cropped = layer(&|l| l["padding_end"] = serde_json::json!([2, -1])).unwrap();
    let geometry = cropped[0].params::<2>().geometry(1, cropped[0].extent()).unwrap();
    assert_eq!(geometry.output_extent(), [9, 7]);
    let wrong = |edit: &dyn Fn(&mut serde_json::Value), says: &str| {
        let error = layer(edit).unwrap_err();
        assert!(error.contains(says), "{error}");
    };
    wrong(&|l| l["kernel"] = serde_json::json!([3]), "stride has 2 axes, kernel 1");
    wrong(&|l| l["kernel"] = serde_json::json!([1, 1, 1, 1]), "kernel has 4 axes");
    wrong(&|l| l["padding_end"] = serde_json::json!([1]), "padding_end has 1 axes, kernel 2");
    wrong(&|l| l["d"] = 4.into(), "d is given where");
    wrong(&|l| l["h"] = serde_json::Value::Null, "h is given where");
    wrong(&|l| l["widht"] = 4.into(), "unknown field");
}
