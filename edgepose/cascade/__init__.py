"""The cascade of DeepPose (Toshev & Szegedy, CVPR 2014): the protocol, and who fulfils it."""
